"""Writes the report: to the terminal, as JSON, and to the files of --report."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from client.errors import error_text
from protocol.errors import ServingError
from tools.accuracy import Share
from tools.text import printable

from .errors import EvaluationError
from .measures import ClassCounts, Evaluation
from .tables import Table
from .thresholds import Threshold

# Where no terminal sets a width: wide enough that nothing is cut.
_PIPE_WIDTH = 240
_COLUMNS = ("picture", "truth", "answer", "score", "right", "error")


def print_report(head: str, tables: Sequence[Table]) -> None:
    """Print the tables on stdout."""
    width = None if sys.stdout.isatty() else _PIPE_WIDTH
    console = Console(file=sys.stdout, width=width, highlight=False)
    console.print(Text(head, style="bold"))
    for table in tables:
        console.print()
        console.print(Text(table.title, style="bold cyan"))
        shown = RichTable(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        for position, column in enumerate(table.columns):
            left = position < table.left
            shown.add_column(Text(column), justify="left" if left else "right", overflow="fold")
        for row in table.rows:
            shown.add_row(*map(Text, row))
        console.print(shown)
        if table.below:
            console.print(Text(table.below, style="dim"))


def as_json(
    evaluation: Evaluation,
    thresholds: Sequence[Threshold],
    wanted: float | None,
    reached: Threshold | None,
) -> dict[str, Any]:
    """Return the whole report as JSON takes it; the confusion matrix has the truth in its rows."""
    return {
        "source": printable(evaluation.source),
        "model": printable(evaluation.model),
        "pictures": len(evaluation.images),
        "answered": len(evaluation.predictions),
        "failed": [
            {"picture": printable(path), "error": printable(error_text(error))}
            for path, error in evaluation.failed.items()
        ],
        "accuracy_top1": _share(evaluation.accuracy),
        "accuracy_top5": _share(evaluation.top5),
        "accuracy_group": _share(evaluation.group_accuracy),
        "labels": list(evaluation.labels),
        "classes": [_counts(one) for one in evaluation.classes],
        "groups": [_counts(one) for one in evaluation.groups],
        "confusion": evaluation.confusion.tolist(),
        "mistakes": [
            {
                "picture": printable(one.path),
                "truth": evaluation.labels[one.truth],
                "answer": evaluation.labels[one.predicted],
                "score": one.score,
            }
            for one in evaluation.mistakes
        ],
        "thresholds": [_threshold(one) for one in thresholds],
        "wanted": None
        if wanted is None
        else {"accuracy": wanted, "reached": _threshold(reached) if reached else None},
        "notes": [printable(note) for note in evaluation.notes],
    }


def open_report(folder: Path) -> None:
    """Make the folder of the report before the work begins.

    Raises:
        EvaluationError: it cannot be written to.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _write_answers(folder, ())
    except OSError as error:
        raise _unwritable(folder, error) from error


def write_report(
    folder: Path,
    head: str,
    tables: Sequence[Table],
    document: dict[str, Any],
    evaluation: Evaluation,
) -> None:
    """Write report.md, report.json and answers.csv, one line per image.

    Raises:
        EvaluationError: they cannot be written.
    """
    rows = []
    for one in evaluation.images:
        truth = evaluation.labels[one.truth]
        if isinstance(one.result, ServingError):
            error = printable(error_text(one.result))
            rows.append((printable(one.path), truth, "", "", "", error))
        else:
            best = one.result[0]
            right = str(best.class_id == one.truth).lower()
            rows.append((printable(one.path), truth, best.label, repr(best.score), right, ""))
    text = json.dumps(document, ensure_ascii=False)
    try:
        (folder / "report.json").write_text(text + "\n", encoding="utf-8")
        (folder / "report.md").write_text(
            _markdown(head, tables, evaluation.notes), encoding="utf-8"
        )
        _write_answers(folder, rows)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _write_answers(folder: Path, rows: Sequence[tuple[str, ...]]) -> None:
    with (folder / "answers.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS)
        writer.writerows(rows)


def _unwritable(folder: Path, error: OSError) -> EvaluationError:
    why = (error.strerror or str(error)).lower()
    return EvaluationError(f"the report cannot be written to {folder}: {why}; give another folder")


def _markdown(head: str, tables: Sequence[Table], notes: Sequence[str]) -> str:
    lines = ["# Evaluation", "", head, ""]
    for table in tables:
        lines += [f"## {table.title}", "", _line(table.columns)]
        marks = ["---" if i < table.left else "---:" for i in range(len(table.columns))]
        lines += ["|" + "|".join(marks) + "|", *map(_line, table.rows), ""]
        if table.below:
            lines += [table.below, ""]
    for note in notes:
        lines += [f"Note: {printable(note)}", ""]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    escaped = (cell.replace("\\", "\\\\").replace("|", "\\|") for cell in cells)
    return "| " + " | ".join(escaped) + " |"


def _share(share: Share | None) -> dict[str, Any] | None:
    if share is None:
        return None
    value = share.value if share.of else None
    return {"value": value, "right": share.hits, "of": share.of, "interval": list(share.interval)}


def _counts(one: ClassCounts) -> dict[str, Any]:
    return {
        "name": one.name,
        "pictures": one.images,
        "answers": one.named,
        "right": one.right,
        "recall": one.recall.value if one.images else None,
        "precision": one.precision.value if one.named else None,
    }


def _threshold(one: Threshold) -> dict[str, Any]:
    return {
        "threshold": one.threshold,
        "answered": one.answered.value,
        "accuracy": _share(one.accuracy),
        "wrong": one.wrong,
        "to_person": one.to_person.value,
    }
