"""The tables on stdout."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from tools.text import printable, ranges

from .checking import Check
from .finding import Finding
from .pixel_statistics import Statistics

# Findings of one kind that are shown; --json has all.
_SHOWN = 10
_SHOWN_IMAGES = 4
_PIPE_WIDTH = 120


def console() -> Console:
    """Return the console for the tables: as wide as the terminal, or wide enough without one."""
    return Console(file=sys.stdout, width=None if sys.stdout.isatty() else _PIPE_WIDTH)


def print_check(result: Check) -> None:
    """Print counts, sizes, and the findings by kind."""
    out = console()
    unreadable = result.images - result.readable
    head = f"{result.images} images, {unreadable} of them unreadable, {len(result.counts)} classes"
    out.print(Text(printable(result.source), style="bold"))
    out.print(Text(head + (f", {result.others} other files" if result.others else "")))
    print_counts(result.counts, result.splits)
    if result.imbalance:
        out.print(Text(f"the largest class has {result.imbalance:.2f} times the smallest's images"))
    _print_sizes(result, out)
    kinds = Counter(finding.kind for finding in result.findings)
    if not kinds:
        out.print(Text("no findings", style="green"))
    for kind, count in kinds.items():
        out.print(Text(f"\n{kind}: {count}", style="bold red"))
        for finding in [f for f in result.findings if f.kind == kind][:_SHOWN]:
            out.print(_finding(finding), soft_wrap=True)
        if count > _SHOWN:
            out.print(Text(f"  and {count - _SHOWN} more; --json lists all", style="dim"))


def print_counts(counts: Mapping[str, Mapping[str, int]], splits: Sequence[str]) -> None:
    """Print a row per class: images in each split, in all, and the share."""
    total = sum(sum(by_split.values()) for by_split in counts.values())
    named = [split for split in splits if split]
    table = Table("class", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in (*named, "images", "share"):
        table.add_column(Text(printable(column)), justify="right")
    for name, by_split in counts.items():
        own = sum(by_split.values())
        cells = [str(by_split[split]) for split in named]
        table.add_row(Text(printable(name)), *cells, str(own), f"{own / max(total, 1):.1%}")
    if len(counts) > 1:
        sums = [str(sum(by_split[split] for by_split in counts.values())) for split in named]
        table.add_row("all", *sums, str(total), "", style="dim")
    console().print(table)


def print_statistics(result: Statistics) -> None:
    """Print the operator as a list of transform_ops has it."""
    options = result.normalize_image()
    out = [
        f"# {printable(result.source)}: {result.images} images, {result.pixels} pixels; RGB",
        "- NormalizeImage:",
        f"    scale: {options['scale']}",
        f"    mean: {options['mean']}",
        f"    std: {options['std']}",
        "    order: ''",
    ]
    sys.stdout.write("\n".join(out) + "\n")


def _print_sizes(result: Check, out: Console) -> None:
    if not result.sizes:
        return
    table = Table("size", header_style="bold", box=None, padding=(0, 2, 0, 0))
    for column in ("min", "median", "max"):
        table.add_column(column, justify="right")
    for name, spread in result.sizes.items():
        values = (spread.smallest, spread.middle, spread.largest)
        table.add_row(name, *(f"{value:g}" if value < 1e6 else f"{value:.0f}" for value in values))
    out.print(table)


def _finding(finding: Finding) -> Text:
    where = finding.where
    if finding.lines:
        where += f" line {ranges(finding.lines)}"
    images = [printable(image) for image in finding.images[:_SHOWN_IMAGES]]
    more = len(finding.images) - len(images)
    copies = len(finding.images) > 1 and not finding.lines
    text = Text("  " + ("" if copies else f"{printable(where)}: ") + printable(finding.text))
    if copies or finding.lines:
        text.append("".join(f"\n    {image}" for image in images), style="dim")
        text.append(f"\n    and {more} more" if more else "", style="dim")
    return text
