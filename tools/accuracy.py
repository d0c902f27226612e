"""Accuracy, accuracy per class, and the confusion matrix."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

_Z = 1.959964  # of the normal distribution, for 95%


class Share(NamedTuple):
    """`hits` of `of`."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share, 0..1; NaN of nothing."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95% interval: sound for few images and for shares near 1, too."""
        if not self.of:
            return 0.0, 1.0
        n, p = self.of, self.value
        middle = (p + _Z**2 / (2 * n)) / (1 + _Z**2 / n)
        half = _Z / (1 + _Z**2 / n) * math.sqrt(p * (1 - p) / n + _Z**2 / (4 * n * n))
        return max(0.0, middle - half), min(1.0, middle + half)


@dataclass(frozen=True)
class Report:
    """`confusion` is int64 [classes, classes]: rows are the truth, columns the answer."""

    classes: tuple[str, ...]
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """The share of images with a right result."""
        return self._right.value

    @property
    def _right(self) -> Share:
        return Share(int(np.trace(self.confusion)), int(self.confusion.sum()))

    def markdown(self) -> str:
        """Return the accuracy and the confusion matrix, as in the README of a model."""
        right = self._right
        low, high = right.interval
        lines = [
            f"Accuracy {right.value:.4f} ({right.hits} of {right.of}), "
            f"95% interval {low:.3f} to {high:.3f}",
            "",
            "| truth \\ answer | " + " | ".join(self.classes) + " | recall |",
            "|---" * (len(self.classes) + 2) + "|",
        ]
        for name, row, own in zip(self.classes, self.confusion, self._own(axis=1), strict=True):
            lines.append(f"| {name} | " + " | ".join(map(str, row)) + f" | {own} |")
        lines.append("| precision | " + " | ".join(self._own(axis=0)) + " | |")
        return "\n".join(lines) + "\n"

    def _own(self, axis: int) -> list[str]:
        """Return the share of the diagonal in each row (1) or column (0)."""
        pairs = zip(np.diag(self.confusion), self.confusion.sum(axis=axis), strict=True)
        return [f"{hits / of:.3f}" if of else "-" for hits, of in pairs]

    def save(self, folder: Path, stem: str = "report") -> None:
        """Write `stem`.md and `stem`.json into `folder`."""
        (folder / f"{stem}.md").write_text(self.markdown(), encoding="utf-8")
        fields = {
            "accuracy": self.accuracy,
            "classes": self.classes,
            "confusion": self.confusion.tolist(),
        }
        (folder / f"{stem}.json").write_text(json.dumps(fields, ensure_ascii=False), "utf-8")


def report_of(targets: np.ndarray, predicted: np.ndarray, classes: tuple[str, ...]) -> Report:
    """Count `predicted` int64 [N] against `targets` int64 [N]."""
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (targets, predicted), 1)
    return Report(classes, confusion)
