"""What a caller overrides of the description of a model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Overrides:
    """What a caller sets in place of what is found; None and False leave it as it is.

    Attributes:
        labels: a label file.
        preprocess: a description file of any known form, or a preset's name.
        topk: how many categories a result holds.
        softmax: the graph gives logits; make probabilities of them.
        multi_label: each class has a score of its own; a result holds all above the threshold.
        single_label: a result holds the best categories, whatever the description says.
        logits: the scores of the graph are returned as they are.
        threshold: the threshold of several labels or of two classes; a file has one by class.
    """

    labels: Path | None = None
    preprocess: str | None = None
    topk: int | None = None
    softmax: bool = False
    multi_label: bool = False
    single_label: bool = False
    logits: bool = False
    threshold: float | Path | None = None
