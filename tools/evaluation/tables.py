"""The tables of the report as text, for the terminal and for report.md."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from client.errors import error_text
from tools.accuracy import Share
from tools.text import printable

from .measures import ClassCounts, Evaluation
from .thresholds import Threshold

FULL_MATRIX = 12
_CONFUSIONS = 20
_MISTAKES = 10
_FAILURES = 10


@dataclass(frozen=True)
class Table:
    """Columns of text; the first `left` are aligned left, the others, numbers, right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: int = 1
    below: str = ""


def tables_of(
    evaluation: Evaluation,
    thresholds: Sequence[Threshold],
    wanted: float | None,
    reached: Threshold | None,
) -> Iterator[Table]:
    """Yield the tables of the report, in order; those without rows are left out.

    Args:
        evaluation: the results.
        thresholds: rows of the table of thresholds; none: no such table.
        wanted: the accuracy that is wanted, or None.
        reached: the smallest threshold that reaches it, or None.
    """
    yield _accuracies(evaluation)
    yield _classes("class", evaluation.classes, number=True)
    if evaluation.groups:
        yield _classes("group", evaluation.groups, number=False)
    yield from _confusions(evaluation)
    if evaluation.mistakes:
        yield _mistakes(evaluation)
    if thresholds or wanted is not None:
        yield _thresholds(thresholds, wanted, reached)
    if evaluation.failed:
        yield _failures(evaluation)


def heading(evaluation: Evaluation) -> str:
    """Return data, model and number of images in one line."""
    failed = f", {len(evaluation.failed)} of them failed" if evaluation.failed else ""
    return (
        f"{printable(evaluation.source)}: {len(evaluation.images)} images{failed}, answered by "
        f"{printable(evaluation.model)}, {len(evaluation.labels)} classes"
    )


def _accuracies(evaluation: Evaluation) -> Table:
    shares = {
        "accuracy_top-1": evaluation.accuracy,
        "accuracy_top-5": evaluation.top5,
        "accuracy of the group": evaluation.group_accuracy,
    }
    rows = tuple(
        (name, f"{share.value:.4f}", str(share.hits), str(share.of), _interval(share))
        for name, share in shares.items()
        if share is not None
    )
    return Table("Accuracy", ("measure", "value", "right", "images", "95% interval"), rows)


def _classes(what: str, counts: Sequence[ClassCounts], *, number: bool) -> Table:
    rows = tuple(
        (
            *((str(position),) if number else ()),
            printable(one.name),
            str(one.images),
            str(one.right),
            _value(one.recall),
            _value(one.precision),
        )
        for position, one in enumerate(counts)
    )
    head = (what, "images", "right", "recall", "precision")
    plural = {"class": "Classes", "group": "Groups"}[what]
    return Table(plural, ("no.", *head) if number else head, rows, left=2 if number else 1)


def _confusions(evaluation: Evaluation) -> Iterator[Table]:
    names = [printable(label) for label in evaluation.labels]
    if len(names) <= FULL_MATRIX:
        rows = tuple(
            (str(position), name, *("." if not count else str(count) for count in row))
            for position, (name, row) in enumerate(zip(names, evaluation.confusion, strict=True))
        )
        columns = ("no.", "truth \\ answer", *map(str, range(len(names))))
        yield Table("Confusion matrix", columns, rows, left=2)
        return
    images = evaluation.confusion.sum(axis=1)
    found = evaluation.confusions
    rows = tuple(
        (names[one.truth], names[one.predicted], str(one.images), str(images[one.truth]))
        for one in found[:_CONFUSIONS]
    )
    if rows:
        more = len(found) - len(rows)
        below = f"and {more} pairs more" if more else ""
        columns = ("truth", "answer", "images", "of")
        yield Table("Most frequent confusions", columns, rows, left=2, below=below)


def _mistakes(evaluation: Evaluation) -> Table:
    rows = tuple(
        (
            f"{one.score:.4f}",
            printable(evaluation.labels[one.truth]),
            printable(evaluation.labels[one.predicted]),
            printable(one.path),
        )
        for one in evaluation.mistakes[:_MISTAKES]
    )
    more = len(evaluation.mistakes) - len(rows)
    return Table(
        "Wrong with the highest scores",
        ("score", "truth", "answer", "image"),
        rows,
        left=4,
        below=f"and {more} more" if more else "",
    )


def _thresholds(
    thresholds: Sequence[Threshold], wanted: float | None, reached: Threshold | None
) -> Table:
    shown = [*thresholds, *([reached] if reached else [])]
    columns = ("threshold", "answered", "accuracy", "95% interval", "wrong", "to a person")
    rows = tuple(
        (
            f"{one.threshold:.10g}",
            f"{one.answered.value:.1%}",
            _value(one.accuracy),
            _interval(one.accuracy),
            str(one.wrong),
            f"{one.to_person.value:.1%} ({one.to_person.hits})",
        )
        for one in sorted(set(shown))
    )
    texts = []
    if wanted is not None:
        texts.append(
            f"the smallest threshold with an accuracy of {wanted:g}: {reached.threshold:.10g}; "
            f"{reached.to_person.value:.1%} go to a person"
            if reached
            else f"no threshold reaches an accuracy of {wanted:g}"
        )
    texts.append("confirm a threshold chosen here on other images")
    return Table("Thresholds", columns, rows, left=0, below="; ".join(texts))


def _failures(evaluation: Evaluation) -> Table:
    rows = tuple(
        (printable(path), printable(error_text(error)))
        for path, error in list(evaluation.failed.items())[:_FAILURES]
    )
    more = len(evaluation.failed) - len(rows)
    below = f"and {more} more; --report and --json name all" if more else ""
    return Table("Failed", ("image", "error"), rows, left=2, below=below)


def _value(share: Share) -> str:
    return "-" if math.isnan(share.value) else f"{share.value:.4f}"


def _interval(share: Share) -> str:
    low, high = share.interval
    return f"{low:.4f} to {high:.4f}" if share.of else "-"
