"""What a user's classifier gets wrong must not give one image's answer to another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle import load_bundle
from pipeline.classifier import Classifier
from pipeline.predictors import PredictorError
from protocol.errors import PredictionFailed
from protocol.request import EncodedImage


class FixedScores:
    """Answers the same six scores for every image."""

    name = "fixed"

    def __init__(self, scores: list[float]) -> None:
        self._scores = np.float32(scores)

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return np.tile(self._scores, (len(batch), 1))


class Forgetful(Classifier):
    """Answers only every second time."""

    calls = 0

    def postprocess(self, scores: np.ndarray, topk: int, threshold: float | None) -> Any:
        self.calls += 1
        if self.calls % 2:
            return None
        return super().postprocess(scores, topk, threshold)


def image() -> EncodedImage:
    return EncodedImage(cv2.imencode(".png", np.zeros((300, 300, 3), np.uint8))[1].tobytes())


def test_an_answer_that_is_missing_moves_no_other(root: Path) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    classifier = Forgetful(bundle, FixedScores([0, 0, 1, 0, 0, 0]))
    first, second = classifier.classify([image(), image()])
    assert isinstance(first, PredictionFailed)
    assert second[0].class_id == 2


def test_a_model_without_numbers_is_found_at_warm_up(root: Path) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    with pytest.raises(PredictorError, match="not even for a grey image"):
        Classifier(bundle, FixedScores([np.nan] * 6)).warm_up([1])


def test_nothing_to_warm_up_is_fine(root: Path) -> None:
    bundle = load_bundle(root / "serving_model" / "waste")
    Classifier(bundle, FixedScores([1, 0, 0, 0, 0, 0])).warm_up([])
