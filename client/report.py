"""What a client command writes: a table for people, JSON lines for scripts, a progress bar."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Generator, Iterable, Sequence
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from protocol.escaping import escaped_line
from protocol.forms import in_form

from .classify_client import Outcome
from .errors import error_text

HANDFUL = 5
# Where no terminal sets a width: wide enough that nothing is cut.
PIPE_WIDTH = 240


def json_line(outcome: Outcome) -> str:
    """Return one object: image, topk (class_id, label, score; best first) and error.

    `error` is null, or the text `err_no N: message`; topk is then empty.
    """
    error = outcome.error
    categories = () if error else outcome.categories
    return json.dumps(
        {
            "image": _name(outcome),
            "topk": [
                {"class_id": c.class_id, "label": c.label, "score": c.score} for c in categories
            ],
            "error": error_text(error) if error else None,
        },
        ensure_ascii=False,
    )


def form_line(outcome: Outcome, form: str) -> str:
    """Return the outcome in one of `protocol.forms.FORMS`; an error has the form of `json_line`."""
    fields = (
        {"error": error_text(outcome.error)} if outcome.error else in_form(outcome.result, form)
    )
    return json.dumps(fields, ensure_ascii=False)


def print_table(outcomes: Sequence[Outcome], topk: int | None, file: TextIO) -> None:
    """Write a table with up to `topk` rows per image, all of them if None."""
    table = Table("image", "label", header_style="bold")
    table.add_column("probability", justify="right")
    table.add_column("time", justify="right")
    for outcome in outcomes:
        name, spent = _printable(_name(outcome)), f"{outcome.seconds * 1000:.0f} ms"
        if outcome.error:
            reason = _printable(error_text(outcome.error))
            reason.stylize("red")
            table.add_row(name, reason, "", spent)
            continue
        best = outcome.categories[:topk]
        if not best:
            table.add_row(name, Text("none reaches the threshold", style="dim"), "", spent)
        for position, category in enumerate(best):
            first = position == 0
            table.add_row(
                name if first else "",
                _printable(category.label),
                f"{category.score:.4f}",
                spent if first else "",
            )
    width = None if file.isatty() else PIPE_WIDTH
    Console(file=file, width=width, highlight=False).print(table)


def with_bar(
    outcomes: Iterable[Outcome], total: int, *, shown: bool
) -> Generator[Outcome, None, None]:
    """Yield `outcomes` under a progress bar on stderr, if that is a terminal and they are many."""
    if not (shown and total > HANDFUL and sys.stderr.isatty()):
        yield from outcomes
        return
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("classifying", total=total)
        for outcome in outcomes:
            progress.advance(task)
            yield outcome


def _name(outcome: Outcome) -> str:
    image = outcome.image
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else "<bytes>"


def _printable(text: str) -> Text:
    """Return `text` literally, in one line: without markup, and escaped where a terminal would act.

    Bytes of a file name that are not UTF-8 become ?.
    """
    return Text(escaped_line(text.encode(errors="replace").decode()))
