"""Runtimes that sleep: how fast each is, is known. Loaded in workers by sitecustomize.py."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import numpy as np

from pipeline.predictors.predictor import PredictorError, PredictorOptions

if TYPE_CHECKING:
    from bundle import Bundle


class Sleeping:
    """Gives scores that follow from the image; `each_s` an image and `run_s` a run."""

    each_s = 0.0
    run_s = 0.0

    def __init__(self, bundle: Bundle, options: PredictorOptions) -> None:
        if options.precision != "fp32":
            raise PredictorError(f"precision {options.precision} is none of a sleeper's")
        self.classes = bundle.classes
        self.name = f"{type(self).__name__} 1.0 on cpu"
        self.runs = 0

    def predict(self, batch: np.ndarray) -> np.ndarray:
        self.runs += 1
        time.sleep(self.run_s + self.each_s * len(batch))
        means = batch.reshape(len(batch), -1).mean(axis=1, dtype=np.float64)
        scores = np.stack([np.cos(means * (1 + n)) ** 2 for n in range(self.classes)], axis=1)
        return np.asarray(scores / scores.sum(axis=1, keepdims=True), np.float32)


class Slow(Sleeping):
    each_s = 0.008


class Fast(Sleeping):
    """A run takes as long whatever its size: the largest batch pays."""

    run_s = 0.02


class Wrong(Sleeping):
    """The fastest, with the classes in another order."""

    def predict(self, batch: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(super().predict(batch)[:, ::-1])


class Crashing(Sleeping):
    def predict(self, batch: np.ndarray) -> np.ndarray:
        if self.runs > 12:
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().predict(batch)


class Raising(Sleeping):
    def predict(self, batch: np.ndarray) -> np.ndarray:
        if self.runs > 12:
            raise MemoryError("no room for the layers of this model")
        return super().predict(batch)


class Hanging(Sleeping):
    def predict(self, batch: np.ndarray) -> np.ndarray:
        if self.runs > 12:
            time.sleep(3600)
        return super().predict(batch)
