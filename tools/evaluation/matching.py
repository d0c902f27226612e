"""Matches the classes of the data with those of the model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tools.datasets.images import Dataset
from tools.datasets.regrouping import read_renaming

from .errors import EvaluationError

_SHOWN = 12


def match_classes(
    dataset: Dataset, labels: Sequence[str], renaming_file: Path | None, *, by_number: bool
) -> dict[str, int | None]:
    """Return the model's class of each class that `dataset` has images of.

    Names are compared with labels. Names that are numbers, and not labels, are class numbers.

    Args:
        dataset: the images.
        labels: the model's, in the order of its classes.
        renaming_file: YAML, `class of the data: label`; None in it leaves the images out.
        by_number: the numbers in the list file count, whatever its label file calls them; for
            lists that have a label file.

    Raises:
        DatasetError: `renaming_file` cannot be used.
        EvaluationError: the model lacks a class of the data; the text lists all such.
    """
    named = {image.class_name for image in dataset.images}
    used = tuple(name for name in dataset.classes if name in named)
    if by_number:
        return _by_number({name: dataset.classes.index(name) for name in used}, labels, dataset)
    if renaming_file:
        renaming = read_renaming(renaming_file)
        unknown = [name for name in renaming if name not in dataset.classes]
        if unknown:
            raise EvaluationError(
                f"{renaming_file} names {_listed(unknown)}, and {dataset.source} has only "
                f"{_listed(dataset.classes)}; correct the name"
            )
        return _by_name({name: renaming.get(name, name) for name in used}, labels, dataset)
    if all(name.isdecimal() for name in used) and not set(used) & set(labels):
        return _by_number({name: int(name) for name in used}, labels, dataset)
    return _by_name({name: name for name in used}, labels, dataset)


def _by_name(
    wanted: Mapping[str, str | None], labels: Sequence[str], dataset: Dataset
) -> dict[str, int | None]:
    unmatched = [
        name for name, label in wanted.items() if label is not None and label not in labels
    ]
    if unmatched:
        texts = [
            name if wanted[name] == name else f"{name} as {wanted[name]}" for name in unmatched
        ]
        raise EvaluationError(
            f"{dataset.source} has classes that the model does not know: {_listed(texts)}; "
            f"its labels are {_listed(labels)}; give --classes FILE with lines "
            f"`{unmatched[0]}: LABEL`"
        )
    twice = [label for label in wanted.values() if label is not None and labels.count(label) > 1]
    if twice:
        raise EvaluationError(
            f"the model has more than one class with the label {twice[0]!r}; give each a label of "
            "its own, or number the classes in a list file without label file"
        )
    return {name: None if label is None else labels.index(label) for name, label in wanted.items()}


def _by_number(
    wanted: Mapping[str, int], labels: Sequence[str], dataset: Dataset
) -> dict[str, int | None]:
    beyond = [name for name, number in wanted.items() if number >= len(labels)]
    if beyond:
        raise EvaluationError(
            f"{dataset.source} has classes that the model does not know: {_listed(beyond)}; it has "
            f"{len(labels)}, numbered 0 to {len(labels) - 1}"
        )
    return dict(wanted)


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
