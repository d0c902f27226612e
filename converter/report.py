"""The human-readable form of what `inspect` tells."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

_FORMATS = {
    "pir": "PIR (Paddle 3, inference.json)",
    "pdmodel": "ProgramDesc (Paddle 2, .pdmodel)",
    "fluid": "ProgramDesc (Paddle 1, __model__)",
}
_ACTIVATIONS = {
    "softmax": "softmax: scores are probabilities",
    "sigmoid": "sigmoid: each score is a probability of its own",
    "none": "no softmax at the end: scores are raw logits",
}


def print_report(facts: Mapping[str, Any], console: Console | None = None) -> None:
    """Print what `inspect_folder` returned."""
    console = console or Console()
    console.print(Text(f"{facts['kind']} {facts['path']}", style="bold"))
    console.print(_overview(facts))
    console.print(_tensors(facts))


def _overview(facts: Mapping[str, Any]) -> Table:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    if facts["model_name"]:
        table.add_row("model", Text(facts["model_name"]))
    table.add_row("graph", _FORMATS[facts["graph_format"]])
    where = facts["params_file"] or "one file each"
    megabytes = facts["parameter_bytes"] / 1e6
    table.add_row("parameters", Text(f"{facts['parameters']}, {megabytes:.1f} MB ({where})"))
    if facts["fixed_batch"]:
        table.add_row("batch", f"fixed: {facts['fixed_batch']} a run")
    table.add_row("output", _ACTIVATIONS[facts["output_activation"]])
    table.add_row("preprocessing", Text(_steps(facts["preprocessing"])))
    labels = "none; give --labels" if facts["labels"] is None else str(facts["labels"])
    table.add_row("labels", labels)
    if facts["topk"]:
        table.add_row("top-k", str(facts["topk"]))
    for runtime, answer in facts["served_by"].items():
        note = "yes" if answer["serves"] else f"no: {answer['note']}"
        table.add_row(runtime, Text(note, style="green" if answer["serves"] else "yellow"))
    return table


def _steps(steps: Sequence[Mapping[str, Mapping[str, Any]]] | None) -> str:
    if steps is None:
        return "unknown; give --preprocess"
    lines = []
    for step in steps:
        for name, options in step.items():
            given = ", ".join(f"{key}={_short(value)}" for key, value in options.items())
            lines.append(f"{name}({given})")
    return "\n".join(lines)


def _short(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else json.dumps(value, ensure_ascii=False)


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
