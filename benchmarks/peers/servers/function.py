"""The function that every peer serves: decode, preprocess and predict, by this kit's own stages.

So the scores are equal and only the serving differs. Settings come from the environment, for each
peer starts its worker processes in its own way.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from bundle import load_bundle
from pipeline.predictors import create_predictor
from pipeline.predictors.predictor import PredictorOptions
from pipeline.stages.activation import activate
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess

PORT = int(os.environ.get("PEER_PORT", "8000"))
WORKERS = int(os.environ.get("PEER_WORKERS", "1"))
BATCH_SIZE = int(os.environ.get("PEER_BATCH_SIZE", "1"))
WAIT_MS = int(os.environ.get("PEER_WAIT_MS", "0"))


class Classifier:
    """One model on one CPU thread; `PEER_BUNDLE` is its bundle, `PEER_BACKEND` its runtime."""

    def __init__(self) -> None:
        """Load the model and warm it up in every size that a batch may have."""
        cv2.setNumThreads(1)
        bundle = load_bundle(Path(os.environ["PEER_BUNDLE"]))
        options = PredictorOptions(device="cpu", threads=1)
        self._predictor = create_predictor(bundle, os.environ["PEER_BACKEND"], options)
        self._activation = bundle.description.activation
        self._prepare = build_preprocess(bundle.description.transform_ops)
        blank = cv2.imencode(".jpg", np.zeros((256, 341, 3), np.uint8))[1].tobytes()
        for size in range(1, BATCH_SIZE + 1):
            self.classify([blank] * size)

    def classify(self, images: Sequence[bytes]) -> list[dict[str, float]]:
        """Return the best class and its score of each encoded image."""
        batch = np.stack([self._prepare(decode_image(image)) for image in images])
        scores = activate(self._predictor.predict(batch), self._activation)
        best = scores.argmax(axis=1)
        return [
            {"class_id": int(number), "score": float(row[number])}
            for number, row in zip(best, scores, strict=True)
        ]
