"""A tuning for people and for scripts: the table, what was chosen and why, JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from pipeline.predictors.registry import RUNTIMES

from ..checking.images import shown
from ..checking.terminal import in_lines, terminal
from .choice import gain
from .entrant import Entrant
from .space import left_out
from .tune import Tuned

_WIDTH = 120  # at least, of a table in a file
_BUSY = 1.5  # times: on a quiet machine the rounds of a candidate differ by less


def print_table(tuned: Tuned, written: Path | None) -> None:
    """Print the best of each line, all of the final, and what came of it."""
    console = terminal()
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH)
    samples = tuned.samples
    images = f"{len(samples.images)} {'made images' if samples.made else 'images'}"
    cores = f"{tuned.cpu.cores} core{'s' if tuned.cpu.cores != 1 else ''}"
    console.print(
        Text(f"tune {tuned.bundle.path}: {images}, {cores}, {tuned.took_s:.0f} s", "bold")
    )
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    headings = ("", "runtime", "form", "workers", "batch", "images/s", "ms\nalone", "MiB")
    for heading in (*headings, "start\ns"):
        text = heading in ("", "runtime", "form")
        table.add_column(heading, justify="left" if text else "right", no_wrap=True)
    table.add_column("agreement", overflow="fold")
    for entrant in _shown(tuned):
        style = "bold green" if entrant is tuned.chosen else ""
        style = "red" if entrant.error else "yellow" if entrant.refused else style
        table.add_row(*(Text(str(in_lines(cell)), style) for cell in _cells(tuned, entrant)))
    console.print(table)
    for line in _sentences(tuned, written):
        console.print(Text(str(in_lines(line))))


def _shown(tuned: Tuned) -> list[Entrant]:
    """Return those of the final and the best of each other line, the fastest first."""
    best: dict[object, Entrant] = {}
    for entrant in tuned.entrants.values():
        line = replace(entrant.candidate, batch_size=0)
        before = best.get(line)
        if entrant.final or before is None or _rank(entrant) > _rank(before):
            best[entrant if entrant.final else line] = entrant
    return sorted(set(best.values()), key=_rank, reverse=True)


def _rank(entrant: Entrant) -> tuple[bool, bool, float]:
    """Those of the final took turns; the figures of others are of other moments."""
    return not entrant.error, bool(entrant.final), entrant.images_per_s or 0.0


def _cells(tuned: Tuned, entrant: Entrant) -> Iterable[str]:
    candidate = entrant.candidate
    precision = "" if candidate.precision == "fp32" else f" {candidate.precision}"
    fast = " fast_decode" if candidate.fast_decode else ""
    mark = ">" if entrant is tuned.chosen else ""
    yield mark + ("untuned" if candidate == tuned.untuned else "")
    yield RUNTIMES[candidate.backend].title + precision + fast
    yield candidate.form
    yield f"{candidate.workers} x {candidate.threads}"
    runs = entrant.run_size not in (0, candidate.batch_size)
    yield f"{candidate.batch_size} ({entrant.run_size})" if runs else str(candidate.batch_size)
    early = "~" if entrant.images_per_s and not entrant.final else ""
    yield early + _number(entrant.images_per_s, ".1f")
    yield _number(entrant.alone_ms, ".1f")
    yield _number(entrant.memory_mib, ".0f")
    yield _number(entrant.start_s, ".1f")
    yield _agreement(tuned, entrant)


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)


def _agreement(tuned: Tuned, entrant: Entrant) -> str:
    if entrant.error:
        return entrant.error
    found = entrant.agreement
    if found is None:
        return "not compared"
    if replace(entrant.candidate, batch_size=1) == tuned.reference:
        text = "the export itself"
    else:
        text = f"{found.same_best} of {found.images}, {found.largest_difference:.1g}"
    if found.top1 is not None:
        text += f", top-1 {found.top1:.1%}"
    return f"{text}; not chosen: {entrant.refused}" if entrant.refused else text


def _sentences(tuned: Tuned, written: Path | None) -> Iterable[str]:
    samples = tuned.samples
    default = tuned.entrants.get(tuned.untuned)
    if default is not None and default.run_size not in (0, tuned.untuned.batch_size):
        yield "In brackets: the batches that untuned was fastest in; its engine learns them."
    if any(not entrant.final and entrant.images_per_s for entrant in tuned.entrants.values()):
        yield "~: of earlier turns, before the last rounds; not to be compared with them."
    spread = _spread(tuned)
    if spread > _BUSY:
        yield (
            f"The machine was busy with something else: the rounds of untuned differ by"
            f" {spread:.1f} times. Measure again on a quiet machine, or with more --time."
        )
    if samples.made:
        yield (
            "Agreement was measured on made images, which shows that the runtimes compute alike,"
            " and little of accuracy: give --images DIR with images of your own."
        )
    if samples.unreadable:
        count = len(samples.unreadable)
        yield f"{count} unreadable, and left out: {shown(samples.unreadable)}."
    yield from (f"Note: {note}." for note in samples.notes)
    yield from (f"Not measured: {runtime}." for runtime in left_out(tuned.bundle))
    if tuned.chosen is None:
        yield "It was not measured to the end, so nothing is chosen and nothing was written."
        return
    yield f"Chosen: {_reason(tuned, tuned.chosen)}"
    yield f"In config.yml the same is {_keys(tuned.chosen)}"
    if written is not None:
        yield f"{written} has it: services of this bundle take it where the CPU is this one."
    else:
        yield "Nothing was written (--apply no)."


def _spread(tuned: Tuned) -> float:
    """How many times as fast the fastest round of the untuned default was as its slowest."""
    default = tuned.entrants.get(tuned.untuned)
    return max(default.final) / min(default.final) if default is not None and default.final else 1.0


def _reason(tuned: Tuned, chosen: Entrant) -> str:
    if chosen.candidate == tuned.untuned:
        return (
            f"{chosen.candidate}, which is what the service does untuned: no other way was faster"
            " in nearly all rounds, by more than 3%, or 10% where scores change."
        )
    default = tuned.entrants.get(tuned.untuned)
    if default is None or not default.final:
        cause = default.error if default is not None and default.error else "it was not measured"
        return f"{chosen.candidate}, for there are no figures of untuned ({cause})."
    faster = gain(chosen.final, default.final)
    return (
        f"{chosen.candidate}: {faster:.2f} times the images a second of untuned"
        f" ({default.candidate}), in turns with it."
    )


def _keys(chosen: Entrant) -> str:
    one = chosen.candidate
    fast = ", fast_decode: true" if one.fast_decode else ""
    return (
        f"op.NAME: {{concurrency: {one.workers}, batch_size: {one.batch_size}{fast},"
        f" local_service_conf: {{backend: {one.backend}, precision: {one.precision},"
        f" thread_num: {one.threads}}}}}"
    )


def as_json(tuned: Tuned, written: Path | None) -> dict[str, Any]:
    """Return all that was measured as JSON takes it."""
    samples, chosen = tuned.samples, tuned.chosen
    default = tuned.entrants.get(tuned.untuned)
    compared = chosen is not None and default is not None and chosen.final and default.final
    return {
        "bundle": str(tuned.bundle.path),
        "cpu": asdict(tuned.cpu),
        "images": {
            "source": samples.source or None,
            "count": len(samples.images),
            "labelled": bool(samples.truths),
            "unreadable": list(samples.unreadable),
            "notes": list(samples.notes),
        },
        "took_s": round(tuned.took_s, 1),
        "untuned": asdict(tuned.untuned),
        "chosen": asdict(chosen.candidate) if chosen is not None else None,
        "times_untuned": gain(chosen.final, default.final)
        if compared and chosen is not None and default is not None
        else None,
        "written": str(written) if written is not None else None,
        "candidates": [_entrant_json(entrant) for entrant in tuned.entrants.values()],
    }


def _entrant_json(entrant: Entrant) -> dict[str, Any]:
    found = asdict(entrant.agreement) if entrant.agreement is not None else None
    if found is not None and found["largest_difference"] != found["largest_difference"]:
        found["largest_difference"] = None  # JSON has no NaN
    return {
        **asdict(entrant.candidate),
        "images_per_s": entrant.images_per_s,
        "run_size": entrant.run_size or entrant.candidate.batch_size,
        "rounds": entrant.final,
        "alone_ms": entrant.alone_ms,
        "memory_mib": entrant.memory_mib,
        "start_s": entrant.start_s,
        "agreement": found,
        "refused": entrant.refused,
        "error": entrant.error,
    }
