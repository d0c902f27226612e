"""What a client command writes: a table for people, JSON lines for scripts, a bar meanwhile."""

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

from protocol.forms import in_form

from .classify_client import Answer
from .errors import error_text

HANDFUL = 5
# Wide enough that nothing is cut where no terminal sets a width.
PIPE_WIDTH = 240


def json_line(answer: Answer) -> str:
    """Return one object: image, topk (class_id, label, score; best first) and error.

    `error` is null, or the text `err_no N: message`; topk is then empty.
    """
    error = answer.error
    categories = () if error else answer.categories
    return json.dumps(
        {
            "image": _name(answer),
            "topk": [
                {"class_id": c.class_id, "label": c.label, "score": c.score} for c in categories
            ],
            "error": error_text(error) if error else None,
        },
        ensure_ascii=False,
    )


def form_line(answer: Answer, form: str) -> str:
    """Return the answer in one of `protocol.forms.FORMS`; an error is told as in `json_line`."""
    told = {"error": error_text(answer.error)} if answer.error else in_form(answer.result, form)
    return json.dumps(told, ensure_ascii=False)


def print_table(answers: Sequence[Answer], topk: int | None, file: TextIO) -> None:
    """Write a table with up to `topk` rows an image, all of them if None."""
    table = Table("image", "label", header_style="bold")
    table.add_column("probability", justify="right")
    table.add_column("time", justify="right")
    for answer in answers:
        name, spent = _printable(_name(answer)), f"{answer.seconds * 1000:.0f} ms"
        if answer.error:
            table.add_row(name, Text(error_text(answer.error), style="red"), "", spent)
            continue
        best = answer.categories[:topk]
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
    answers: Iterable[Answer], total: int, *, shown: bool
) -> Generator[Answer, None, None]:
    """Pass answers on under a progress bar on stderr, if it is a terminal and they are many."""
    if not (shown and total > HANDFUL and sys.stderr.isatty()):
        yield from answers
        return
    columns = (TextColumn("classifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("classifying", total=total)
        for answer in answers:
            progress.advance(task)
            yield answer


def _name(answer: Answer) -> str:
    image = answer.image
    return os.fspath(image) if isinstance(image, (str, os.PathLike)) else "<bytes>"


def _printable(text: str) -> Text:
    """Return `text` literally: no markup, and bytes of a file name that are no UTF-8 shown as ?."""
    return Text(text.encode(errors="replace").decode())
