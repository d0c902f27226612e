"""The result of `verify --reference` as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .causes import image_facts
from .reference import ImageScores, ReferenceComparison
from .terminal import terminal

_LISTED = 10  # images, the ones that differ most


def print_comparison(
    compared: ReferenceComparison,
    console: Console | None = None,
    read: Callable[[str], bytes] = lambda name: Path(name).read_bytes(),
) -> None:
    """Print what `compare_with_reference` found; the images one by one where they differ."""
    console = console or terminal()
    console.print(Text(f"verify {compared.bundle}", style="bold"))
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("reference", Text(str(compared.reference)))
    table.add_row("bundle", Text(compared.runtime))
    table.add_row("images", str(len(compared.images)))
    if compared.conversion:
        table.add_row("note", Text(compared.conversion, style="yellow"))
    worst = compared.images[0]
    color = "green" if worst.difference <= compared.tolerance else "red"
    said = f"differ by {worst.difference:.2g} at most, on {worst.image};"
    table.add_row("scores", Text(f"{said} {compared.tolerance:g} allowed", style=color))
    table.add_row("best class", f"the same for {compared.agreeing} of {len(compared.images)}")
    if not compared.distinguishes:
        note = "the scores of all images are nearly the same, so this shows little; give others"
        table.add_row("note", Text(note, style="yellow"))
    for image, why in compared.unreadable.items():
        table.add_row("refused", Text(f"{image}: {why}", style="red"))
    for cause in compared.causes:
        table.add_row("likely", Text(cause, style="yellow"))
    console.print(table)
    if not compared.passed:
        console.print(_by_image(compared, read))


def _by_image(compared: ReferenceComparison, read: Callable[[str], bytes]) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("differs by", "image", "reference", "bundle", "file"):
        table.add_column(heading, overflow="fold")
    differing = [image for image in compared.images if image.difference > compared.tolerance]
    for image in differing[:_LISTED]:
        cells = (f"{image.difference:.2g}", Path(image.image).name, *_best(compared, image))
        table.add_row(*map(Text, cells), Text(image_facts(read(image.image))))
    more = len(differing) - _LISTED
    if more > 0:
        table.add_row("", f"and {more} more that differ less")
    return table


def _best(compared: ReferenceComparison, image: ImageScores) -> tuple[str, str]:
    """The best class on both sides, with its score."""
    best = [(row, int(row.argmax())) for row in (image.reference, image.ours)]
    theirs, ours = (f"{compared.labels[at]} {row[at]:.4f}" for row, at in best)
    return theirs, ours
