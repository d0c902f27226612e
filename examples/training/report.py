"""What a trained network is worth: accuracy, accuracy per class, and the confusion matrix."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Report:
    """`confusion` is int64 [classes, classes]: rows are the truth, columns the answer."""

    classes: tuple[str, ...]
    confusion: np.ndarray

    @property
    def accuracy(self) -> float:
        """Share of pictures answered right."""
        return float(np.trace(self.confusion) / self.confusion.sum())

    def markdown(self) -> str:
        """Return both tables, as they stand in a model's README."""
        lines = [
            f"Accuracy {self.accuracy:.4f} ({np.trace(self.confusion)} of {self.confusion.sum()})",
            "",
            "| truth \\ answer | " + " | ".join(self.classes) + " | recall |",
            "|---" * (len(self.classes) + 2) + "|",
        ]
        for name, row in zip(self.classes, self.confusion, strict=True):
            own = row[self.classes.index(name)] / max(row.sum(), 1)
            lines.append(f"| {name} | " + " | ".join(map(str, row)) + f" | {own:.3f} |")
        precision = np.diag(self.confusion) / np.maximum(self.confusion.sum(axis=0), 1)
        lines.append("| precision | " + " | ".join(f"{p:.3f}" for p in precision) + " | |")
        return "\n".join(lines) + "\n"

    def save(self, folder: Path, stem: str = "report") -> None:
        """Write `stem`.md and `stem`.json into `folder`."""
        (folder / f"{stem}.md").write_text(self.markdown(), encoding="utf-8")
        fields = {
            "accuracy": self.accuracy,
            "classes": self.classes,
            "confusion": self.confusion.tolist(),
        }
        (folder / f"{stem}.json").write_text(json.dumps(fields, ensure_ascii=False), "utf-8")


def report_of(targets: np.ndarray, answers: np.ndarray, classes: tuple[str, ...]) -> Report:
    """Count `answers` int64 [N] against `targets` int64 [N]."""
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (targets, answers), 1)
    return Report(classes, confusion)
