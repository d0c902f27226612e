"""What a result of a model holds: the best categories, or all above a threshold."""

from __future__ import annotations

from dataclasses import replace

from bundle.inference_yml import DEFAULT_THRESHOLD, InferenceDescription

from ..errors import ConversionError
from ..reading.activation import SCORES
from .collect import FoundDescription
from .overrides import Overrides


def describe(
    found: FoundDescription, overrides: Overrides, activation: str
) -> InferenceDescription:
    """Settle what a result holds, of a model whose output ends in `activation`.

    Raises:
        ConversionError: the overrides do not fit the model.
    """
    description = _with_answer(found.description, overrides, activation, settled=found.settled)
    return replace(description, topk=_topk(overrides.topk, description))


def _with_answer(
    description: InferenceDescription, overrides: Overrides, activation: str, *, settled: bool
) -> InferenceDescription:
    """Decide between one category and several, and what makes scores of logits."""
    multi_label = description.multi_label or overrides.multi_label
    # A sigmoid at the end is a model of several labels an image, unless a description says Topk.
    if activation == "sigmoid" and not settled:
        multi_label = True
    _check(overrides, activation, multi_label=multi_label)
    wanted = description.activation
    if overrides.softmax:
        wanted = "softmax"
    elif multi_label and activation == "none":
        wanted = "sigmoid"
    threshold: float | None = None
    if multi_label:
        found = description.threshold if description.threshold is not None else DEFAULT_THRESHOLD
        threshold = found if overrides.threshold is None else overrides.threshold
    return replace(
        description,
        multi_label=multi_label,
        threshold=threshold,
        activation=wanted,
        topk=description.topk if multi_label == description.multi_label else 0,
    )


def _check(overrides: Overrides, activation: str, *, multi_label: bool) -> None:
    """Refuse overrides that contradict the graph or one another."""
    if overrides.softmax and (activation in SCORES or multi_label):
        raise ConversionError(
            "--softmax: the graph ends with a softmax already; leave the option out"
            if activation == "softmax"
            else "--softmax: the model gives each class a score of its own (sigmoid); leave it out"
        )
    if overrides.multi_label and activation == "softmax":
        raise ConversionError(
            "--multi-label: the graph ends with a softmax, whose scores add up to 1; leave it out"
        )
    if overrides.threshold is not None and not multi_label:
        raise ConversionError(
            "--threshold: belongs to models of several labels an image; give --multi-label, or"
            " set threshold in the service's configuration"
        )
    if overrides.threshold is not None and not 0 <= overrides.threshold <= 1:
        raise ConversionError(f"--threshold {overrides.threshold}: must be from 0 to 1")


def _topk(given: int | None, description: InferenceDescription) -> int:
    classes = len(description.labels or ())
    if given is not None and not 1 <= given <= classes:
        raise ConversionError(f"--topk {given}: must be from 1 to the number of classes, {classes}")
    return given or min(description.topk, classes)
