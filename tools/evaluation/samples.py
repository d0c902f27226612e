"""The images of an evaluation: those of one split, or of one list."""

from __future__ import annotations

from pathlib import Path

from tools.datasets.finding import Finding
from tools.datasets.images import Dataset, read_folder
from tools.datasets.sources import read_sources
from tools.text import ranges

from .errors import EvaluationError

_VALIDATION = ("val", "valid", "validation", "eval", "dev")
# With these, images would be missing, or their class be in doubt; the others are notes.
_IN_THE_WAY = frozenset(
    {
        "folder in a class",
        "missing file",
        "no class number",
        "class number out of range",
        "number of another class",
        "two classes",
        "label file",
    }
)
_WITHOUT_IMAGES = frozenset({"empty class", "class without images"})


def read_samples(
    data: Path, split: str | None, root: Path | None, labels: Path | None
) -> tuple[Dataset, list[str]]:
    """Return the images to evaluate, and notes for the reader of the report.

    Args:
        data: a folder of classes, a split one, or a list file.
        split: which split of a split folder; None: the one to validate with.
        root: where the paths in a list begin, if not at its own folder.
        labels: the label file of a list, if it is not beside it.

    Raises:
        DatasetError: `data` cannot be read.
        EvaluationError: there is no such split, or images or their classes are in doubt.
    """
    dataset = read_sources([data], root, labels)
    if data.is_dir() and dataset.splits != ("",):
        chosen = _split(dataset, split)
        classes = dataset.classes
        dataset = read_folder(data / chosen, chosen)
        # A split may lack a class that the others have.
        dataset.classes = classes
    elif split:
        raise EvaluationError(f"{data} is not split into folders; leave out --split")
    for finding in dataset.findings:
        if finding.kind in _IN_THE_WAY:
            raise EvaluationError(_line(finding))
    if not dataset.images:
        raise EvaluationError(f"{data} names no image; give a list or a folder that does")
    return dataset, _notes(dataset)


def _split(dataset: Dataset, wanted: str | None) -> str:
    names = (wanted,) if wanted else _VALIDATION
    for name in names:
        if name in dataset.splits:
            return name
    what = f"no split {wanted!r}" if wanted else "no val"
    raise EvaluationError(
        f"{dataset.source} has {what}, only {', '.join(dataset.splits)}; "
        f"give --split {dataset.splits[0]}"
    )


def _notes(dataset: Dataset) -> list[str]:
    notes = [_line(finding) for finding in dataset.findings if finding.kind in _WITHOUT_IMAGES]
    more = len(dataset.findings) - len(notes)
    if more:
        found = f"{dataset.source} has other findings that do no harm here: {more}"
        notes.append(f"{found}; `python -m tools.datasets check` lists them")
    return notes


def _line(finding: Finding) -> str:
    lines = f" line {ranges(finding.lines)}" if finding.lines else ""
    return f"{finding.where}{lines}: {finding.text}"
