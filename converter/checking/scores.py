"""Scores of one model in two classifiers, compared image by image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console
from rich.progress import track

from pipeline.classifier import Classifier
from pipeline.predictors import PredictorError
from pipeline.stages.activation import activate
from protocol.errors import ServingError
from protocol.reply import Category
from protocol.request import EncodedImage

from ..errors import ConversionError

BATCH = 8
_ROUNDING = 0.01  # of a sum, in half precision
_EVERYTHING = float("-inf")  # a threshold that logits pass too


@dataclass(frozen=True)
class Differences:
    """How the scores of two classifiers differ.

    Attributes:
        largest: image -> the largest difference of one score.
        unreadable: images that neither takes.
        agreeing: how many images have the same best class.
        spread: of the scores of one class between images, relative to the largest score.
        lowest: the lowest score.
        highest: the highest score.
        add_up: the scores of each image add up to 1.
    """

    largest: Mapping[str, float]
    unreadable: Sequence[str]
    agreeing: int
    spread: float
    lowest: float = 0
    highest: float = 0
    add_up: bool = False

    @property
    def largest_at(self) -> str:
        """The image with the largest difference of all; a NaN is the largest."""
        return max(self.largest, key=lambda name: _worst(self.largest[name]))


def compare_scores(
    plain: Classifier, served: Classifier, images: Mapping[str, bytes]
) -> Differences:
    """Run the same encoded images through both: one by one, and in batches as the service does.

    Raises:
        ConversionError: only one of them takes an image, or a runtime fails.
    """
    differences: dict[str, float] = {}
    unreadable: list[str] = []
    rows: list[np.ndarray] = []
    agreeing = 0
    names = list(images)
    batches = [names[at : at + BATCH] for at in range(0, len(names), BATCH)]
    shown = Console(stderr=True)
    for batch in track(
        batches, "comparing", console=shown, transient=True, disable=len(names) < 32
    ):
        classes = len(served.labels or ()) or 1_000_000
        requests = [EncodedImage(images[name], classes, _EVERYTHING) for name in batch]
        for name, result in zip(batch, served.classify(requests), strict=True):
            expected = _expected(plain, images[name])
            if isinstance(expected, ServingError) and isinstance(result, ServingError):
                unreadable.append(name)
                continue
            if isinstance(expected, ServingError) or isinstance(result, ServingError):
                raise ConversionError(f"{name}: answered by one of the two only: {result}")
            scores = _by_class(result, len(expected))
            scale = max(1.0, float(np.abs(expected).max()))
            differences[name] = float(np.abs(scores - expected).max()) / scale
            agreeing += int(scores.argmax() == expected.argmax())
            rows.append(expected)
    spread = float(np.ptp(rows, axis=0).max() / np.abs(rows).max()) if len(rows) > 1 else 0.0
    if not rows:
        return Differences(differences, unreadable, agreeing, spread)
    return Differences(
        differences,
        unreadable,
        agreeing,
        spread,
        lowest=float(min(row.min() for row in rows)),
        highest=float(max(row.max() for row in rows)),
        add_up=all(abs(float(row.sum()) - 1) < _ROUNDING for row in rows),
    )


def _expected(plain: Classifier, image: bytes) -> np.ndarray | ServingError:
    """Scores, float32 [classes], of one image run by itself."""
    try:
        array = plain.preprocess(plain.decode(image))
    except ServingError as error:
        return error
    try:
        outputs = plain.predictor.predict(array[np.newaxis])
    except PredictorError as error:
        raise ConversionError(f"{plain.bundle.path}: {error}") from error
    scores = activate(outputs, plain.bundle.description.activation)
    row: np.ndarray = scores[0]
    return row


def _by_class(result: Sequence[Category], classes: int) -> np.ndarray:
    scores = np.full(classes, np.nan, np.float32)
    for category in result:
        scores[category.class_id] = category.score
    return scores


def _worst(difference: float) -> float:
    return float("inf") if np.isnan(difference) else difference
