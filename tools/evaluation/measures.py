"""What the answers are worth: shares of right ones with their intervals, confusions, mistakes."""

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
class Asked:
    """One image, its class in the model's numbers, and the answer, best first, or its error."""

    path: str
    truth: int
    result: tuple[Category, ...] | ServingError


class Answered(NamedTuple):
    """An image that was answered."""

    path: str
    truth: int
    answer: int
    score: float
    right: bool


class ClassCounts(NamedTuple):
    """Of one class, or one group: images of it, answers of it, and both at once."""

    name: str
    images: int
    answers: int
    right: int

    @property
    def recall(self) -> Share:
        """Of its images, those answered right."""
        return Share(self.right, self.images)

    @property
    def precision(self) -> Share:
        """Of the answers that name it, the right ones."""
        return Share(self.right, self.answers)


class Confusion(NamedTuple):
    """How often one class was answered for another."""

    truth: int
    answer: int
    images: int


@dataclass(frozen=True)
class Evaluation:
    """All answers of one model, at least one of them no error, and what they count up to.

    Attributes:
        source: what was asked.
        model: who answered.
        labels: in the order of the model's classes.
        asked: every image, in order.
        notes: what the reader should know.
    """

    source: str
    model: str
    labels: tuple[str, ...]
    asked: tuple[Asked, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def answered(self) -> tuple[Answered, ...]:
        """The images that were answered, in order."""
        return tuple(
            Answered(
                one.path,
                one.truth,
                one.result[0].class_id,
                one.result[0].score,
                one.result[0].class_id == one.truth,
            )
            for one in self.asked
            if not isinstance(one.result, ServingError)
        )

    @cached_property
    def failed(self) -> Mapping[str, ServingError]:
        """Path and error of the images that were not."""
        return {one.path: one.result for one in self.asked if isinstance(one.result, ServingError)}

    @property
    def accuracy(self) -> Share:
        """The best category is the image's class."""
        return Share(sum(one.right for one in self.answered), len(self.answered))

    @property
    def top5(self) -> Share | None:
        """One of the best five is; None for a model of five classes or fewer."""
        if len(self.labels) <= TOPK:
            return None
        found = [
            one.truth in {category.class_id for category in one.result[:TOPK]}
            for one in self.asked
            if not isinstance(one.result, ServingError)
        ]
        return Share(sum(found), len(found))

    @cached_property
    def confusion(self) -> np.ndarray:
        """int64 [classes, classes]: rows are the truth, columns the answer."""
        truths = np.array([one.truth for one in self.answered], np.int64)
        answers = np.array([one.answer for one in self.answered], np.int64)
        return report_of(truths, answers, self.labels).confusion

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
        """The best category is of the image's group; None without groups."""
        if self.group_of is None:
            return None
        return Share(sum(group.right for group in self.groups), len(self.answered))

    @property
    def confusions(self) -> list[Confusion]:
        """Wrong answers by how often they were given, the most frequent first."""
        pairs = Counter((one.truth, one.answer) for one in self.answered if not one.right)
        ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
        return [Confusion(truth, answer, count) for (truth, answer), count in ordered]

    @property
    def mistakes(self) -> list[Answered]:
        """The images answered wrong, those with the highest scores first."""
        wrong = [one for one in self.answered if not one.right]
        return sorted(wrong, key=lambda one: (-one.score, one.path))


def _counts(names: Sequence[str], confusion: np.ndarray) -> list[ClassCounts]:
    def counted() -> Iterator[ClassCounts]:
        sums = confusion.sum(axis=1), confusion.sum(axis=0), np.diag(confusion)
        for name, images, answers, right in zip(names, *sums, strict=True):
            yield ClassCounts(name, int(images), int(answers), int(right))

    return list(counted())
