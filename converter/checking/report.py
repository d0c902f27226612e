"""The facts of `inspect` and the result of `verify` as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bundle.formats import FORMATS
from pipeline.stages.preprocess import MAX_STEPS

from ..reading.activation import SCORES
from .images import shown
from .terminal import in_lines, shortened, terminal
from .verify import FormCheck, Verification

_FIRST = 5  # of the labels, and the last one
_ACTIVATIONS = {
    "softmax": "softmax: scores are probabilities",
    "sigmoid": "sigmoid: each score is a probability of its own",
    "log_softmax": "log-softmax: scores are logarithms of probabilities",
    "log_sigmoid": "log-sigmoid: scores are logarithms of probabilities, each of its own",
    "none": "no softmax at the end: scores are raw logits",
}
_MADE = {
    "softmax": "no softmax at the end; one is added when serving",
    "sigmoid": "no sigmoid at the end; one is added when serving",
    "none": "no softmax at the end; the raw logits are returned, as requested",
}
_WAYS = {
    "none": "--softmax (or --multi-label, or --logits)",
    "log_softmax": "--softmax (or --logits)",
    "log_sigmoid": "--logits",
}


def print_report(facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `inspect_folder` returned."""
    console = console or terminal()
    facts = in_lines(facts)
    console.print(Text(f"{facts['kind']} {facts['path']}", style="bold"))
    console.print(_overview(facts))
    console.print(_tensors(facts))


def _overview(facts: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if facts["model_name"]:
        table.add_row("model", Text(facts["model_name"]))
    written_by = f"; {facts['written_by']}" if facts["written_by"] else ""
    table.add_row("graph", Text(FORMATS[facts["graph_format"]].title + written_by))
    where = facts["params_file"] or "in the graph's file"
    if facts["parameter_files"]:
        count = facts["parameter_files"]
        where = f"{count} files of their own" if count > 1 else "a file of their own"
    size = _size(facts["parameter_bytes"])
    table.add_row("parameters", Text(f"{facts['parameters']}, {size} ({where})"))
    if facts["fixed_batch"]:
        table.add_row("batch", f"fixed: {facts['fixed_batch']} a run")
    if facts["white"]:
        what = "pixels from 0 to 255" if facts["scales_pixels"] else "numbers from 0 to 1"
        table.add_row("input", f"scaled by the graph itself: it takes {what}")
    color = "yellow" if facts["output_error"] else ""
    table.add_row("output", Text(_output(facts), style=color))
    if facts["outputs_left_out"]:
        left_out = f"no tensors, and left out: {', '.join(facts['outputs_left_out'])}"
        table.add_row("outputs", Text(left_out))
    if facts["description_error"]:
        cause = f"unreadable, because {facts['description_error']}"
        table.add_row("description", Text(cause, style="yellow"))
    elif facts["kind"] == "export" and facts["description_file"]:
        table.add_row("described by", Text(facts["description_file"]))
    if facts["contradiction"]:
        table.add_row("contradiction", Text(facts["contradiction"], style="yellow"))
    table.add_row("preprocessing", Text(_steps(facts["preprocessing"])))
    table.add_row("labels", Text(_labels(facts)))
    if facts["answer"]:
        table.add_row("result", facts["answer"])
    if "record" in facts:
        for name, text in _made(facts["record"]):
            table.add_row(name, Text(text))
    for runtime, answer in facts["served_by"].items():
        note = "yes" if answer["serves"] else f"no: {answer['note']}"
        table.add_row(runtime, Text(note, style="green" if answer["serves"] else "yellow"))
    return table


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 100_000 else f"{count / 1e3:.1f} kB"


def _labels(facts: Mapping[str, Any]) -> str:
    names = facts["label_names"]
    if names is not None:
        first = ", ".join(map(repr, names[:_FIRST]))
        more = f", ... {names[-1]!r}" if len(names) > _FIRST else ""
        return f"{len(names)}: {first}{more}"
    files = facts["label_files"]
    return f"in one of {', '.join(files)}; choose with --labels" if files else "none; give --labels"


def _output(facts: Mapping[str, Any]) -> str:
    if facts["output_error"]:
        return str(facts["output_error"])
    if facts["activation"] and facts["output_activation"] not in SCORES:
        return _MADE[facts["activation"]]
    text = _ACTIVATIONS[facts["output_activation"]]
    if facts["output_activation"] not in SCORES:
        text += f"; convert with {_WAYS[facts['output_activation']]}"
    return text


def _made(record: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Where a bundle came from: sources, options, the hash of its graph."""
    source = record.get("source")
    if isinstance(source, dict):
        names = [source.get("model_file"), source.get("params_file")]
        names += list(source.get("descriptions") or {})
        yield "made from", f"{source.get('folder')}: {', '.join(str(n) for n in names if n)}"
    if record.get("options"):
        given = [f"{name}={_short(value)}" for name, value in record["options"].items()]
        yield "options", ", ".join(given)
    if record.get("made_by"):
        yield "made by", str(record["made_by"])
    forms = record.get("forms")
    for name, made in (forms if isinstance(forms, dict) else {}).items():
        if isinstance(made, dict):
            yield f"form {name}", _compared(made)
    for name, digest in record["files"].items():
        if not str(name).endswith((".yml", ".prototxt")) and str(name).startswith("serving_server"):
            yield "sha256", f"{str(digest)[:16]}... {name}"
            break


def _compared(made: Mapping[str, Any]) -> str:
    """How a form was made and compared, as the record says it."""
    return (
        f"made by {made.get('made_by')}; differs from the export by"
        f" {made.get('largest_difference')} at most, over {made.get('images')} images"
    )


def print_verification(verification: Verification, console: Console | None = None) -> None:
    """Print what `verify` found."""
    console = console or terminal()
    console.print(Text(f"verify {verification.bundle}", style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    recorded = "no bundle.yml to compare with"
    if verification.files is not None:
        recorded = f"{verification.files}, as bundle.yml records them"
    if verification.edited:
        recorded += f", but for {', '.join(verification.edited)}, edited since"
    table.add_row("files", Text(recorded, style="yellow" if verification.edited else ""))
    table.add_row("prototxt", "text and stream agree, with the client's copies and the graph")
    table.add_row("reference", Text(verification.reference))
    table.add_row("bundle", Text(verification.runtime))
    table.add_row("images", str(verification.images))
    if verification.unreadable:
        count = len(verification.unreadable)
        left_out = f"{count} unreadable, and left out: {shown(verification.unreadable)}"
        table.add_row("note", Text(left_out, style="yellow"))
    color = "green" if verification.passed else "red"
    difference = f"{verification.largest_difference:.2g} at most, on {verification.largest_at}"
    table.add_row(
        "scores", Text(f"differ by {difference}; {verification.tolerance:g} allowed", style=color)
    )
    for check in verification.forms:
        table.add_row(f"form {check.form}", _form(check, verification))
    table.add_row("range", Text(verification.scores))
    table.add_row("best class", f"the same for {verification.agreeing} of {verification.images}")
    if verification.contradiction:
        table.add_row("contradiction", Text(verification.contradiction, style="yellow"))
    table.add_row("note", "both sides prepare images alike, so that is proven by --reference only")
    if not verification.distinguishes:
        note = "the best class is the same for all, so this shows little; give --images of your own"
        table.add_row("note", Text(note, style="yellow"))
    console.print(table)


def _form(check: FormCheck, verification: Verification) -> Text:
    if not check.runtime:
        return Text("not compared: no runtime that reads it is installed", style="yellow")
    good = check.largest_difference <= verification.tolerance
    style = "green" if good else "red" if check.exact else "yellow"
    text = f"{check.runtime}: differs by {check.largest_difference:.2g} at most, on"
    text += f" {check.largest_at}; best class the same for {check.agreeing}"
    return Text(text, style=style)


def _steps(steps: Sequence[Mapping[str, Mapping[str, Any]]] | None) -> str:
    if steps is None:
        return "unknown; give --preprocess"
    lines = []
    for step in steps:
        for name, options in step.items():
            given = ", ".join(f"{key}={_short(value)}" for key, value in options.items())
            lines.append(f"{name}({given})")
    more = [f"and {len(lines) - MAX_STEPS} more"] if len(lines) > MAX_STEPS else []
    return "\n".join(lines[:MAX_STEPS] + more)


def _short(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return shortened(json.dumps(value, ensure_ascii=False))


def _tensors(facts: Mapping[str, Any]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "name", "alias", "dtype", "shape"):
        table.add_column(heading, overflow="fold")
    for side, tensors in (("feed", facts["feeds"]), ("fetch", facts["fetches"])):
        for tensor in tensors:
            batch, *rest = ("any" if dim == -1 else str(dim) for dim in tensor["shape"])
            shape = ", ".join(["N" if batch == "any" else batch, *rest])
            cells = (side, tensor["name"], tensor["alias"], tensor["dtype"], f"[{shape}]")
            table.add_row(*map(Text, cells))
    return table
