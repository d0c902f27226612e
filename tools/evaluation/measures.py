"""Measures of an evaluation: accuracies with their intervals, confusions, mistakes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from protocol.errors import ServingError
from protocol.reply import Category
from tools.accuracy import Share, report_of

TOPK = 5


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One image: its class in the model's numbers, and its categories, best first, or its error."""

    path: str
    truth: int
    result: tuple[Category, ...] | ServingError


class Prediction(NamedTuple):
    """An image without an error: its class, and the model's best category."""

    path: str
    truth: int
    predicted: int
    score: float
    right: bool


class ClassCounts(NamedTuple):
    """Of one class or group: images that have it, results that name it, and both at once."""

    name: str
    images: int
    named: int
    right: int

    @property
    def recall(self) -> Share:
        """The share of its images with a right result."""
        return Share(self.right, self.images)

    @property
    def precision(self) -> Share:
        """The share of right results among those that name it."""
        return Share(self.right, self.named)


class Confusion(NamedTuple):
    """How often the model took one class for another."""

    truth: int
    predicted: int
    images: int


@dataclass(frozen=True)
class Evaluation:
    """All results of one model, at least one of them without an error, and their measures.

    Attributes:
        source: the evaluated data.
        model: the name of the model.
        labels: in the order of the model's classes.
        images: every image with its result, in order.
        notes: for the reader of the report.
    """

    source: str
    model: str
    labels: tuple[str, ...]
    images: tuple[Evaluated, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def predictions(self) -> tuple[Prediction, ...]:
        """The images without an error, in order."""
        return tuple(
            Prediction(
                one.path,
                one.truth,
                one.result[0].class_id,
                one.result[0].score,
                one.result[0].class_id == one.truth,
            )
            for one in self.images
            if not isinstance(one.result, ServingError)
        )

    @cached_property
    def failed(self) -> Mapping[str, ServingError]:
        """Path and error of the images that failed."""
        return {one.path: one.result for one in self.images if isinstance(one.result, ServingError)}

    @property
    def accuracy(self) -> Share:
        """The share of images whose best category is their class."""
        return Share(sum(one.right for one in self.predictions), len(self.predictions))

    @property
    def top5(self) -> Share | None:
        """The share whose class is among the best five; None for at most five classes."""
        if len(self.labels) <= TOPK:
            return None
        found = [
            one.truth in {category.class_id for category in one.result[:TOPK]}
            for one in self.images
            if not isinstance(one.result, ServingError)
        ]
        return Share(sum(found), len(found))

    @cached_property
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes]: rows are the truth, columns the model's best category."""
        truths = np.array([one.truth for one in self.predictions], np.int64)
        predicted = np.array([one.predicted for one in self.predictions], np.int64)
        return report_of(truths, predicted, self.labels).confusion

    @property
    def classes(self) -> list[ClassCounts]:
        """Counts of every class, in the model's order."""
        return _counts(self.labels, self.confusion)

    @cached_property
    def group_of(self) -> tuple[str, ...] | None:
        """The group of each class where all labels are `group/item`, else None."""
        groups = tuple(label.partition("/")[0] for label in self.labels)
        grouped = all("/" in label for label in self.labels) and len(set(groups)) < len(groups)
        return groups if grouped else None

    @property
    def groups(self) -> list[ClassCounts]:
        """Counts of every group; a wrong item of the right group is right. Empty without groups."""
        if self.group_of is None:
            return []
        names = tuple(dict.fromkeys(self.group_of))
        number = np.array([names.index(group) for group in self.group_of])
        confusion = np.zeros((len(names), len(names)), np.int64)
        np.add.at(confusion, (number[:, None], number[None, :]), self.confusion)
        return _counts(names, confusion)

    @property
    def group_accuracy(self) -> Share | None:
        """The share whose best category is of their group; None without groups."""
        if self.group_of is None:
            return None
        return Share(sum(group.right for group in self.groups), len(self.predictions))

    @property
    def confusions(self) -> list[Confusion]:
        """Wrong results, the most frequent first."""
        pairs = Counter((one.truth, one.predicted) for one in self.predictions if not one.right)
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        return [Confusion(truth, predicted, count) for (truth, predicted), count in ordered]

    @property
    def mistakes(self) -> list[Prediction]:
        """The images with a wrong result, those with the highest scores first."""
        wrong = [one for one in self.predictions if not one.right]
        return sorted(wrong, key=lambda one: (-one.score, one.path))


def _counts(names: Sequence[str], confusion: np.ndarray) -> list[ClassCounts]:
    def counted() -> Iterator[ClassCounts]:
        sums = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
        for name, images, named, right in zip(names, *sums, strict=True):
            yield ClassCounts(name, int(images), int(named), int(right))

    return list(counted())
