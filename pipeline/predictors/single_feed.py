"""What every runtime shares: one feed, one answering fetch, and batches that fit the graph."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from bundle import Bundle
from bundle.model_config import TensorSpec

from .feed import as_feed, fits
from .predictor import PredictorError
from .servable import feed_hindrance, fetch_hindrance


class SingleFeedPredictor(ABC):
    """Runs the bundle's only feed and one of its fetches; a runtime adds `_run`."""

    def __init__(self, bundle: Bundle, fetch: str | None) -> None:
        self._feed = _only_feed(bundle)
        self._fetch = _answering_fetch(bundle, fetch)
        self._fixed_batch = bundle.fixed_batch

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Return scores, float32 [N, classes]; see `Predictor.predict`.

        A graph that was exported for one batch size runs as often as the batch needs it.
        """
        self._check_shape(batch)
        size = self._fixed_batch or self._run_size(len(batch))
        if size == len(batch):
            return self._scores(batch)
        # The last run is filled up with its last image.
        filled = batch[[min(i, len(batch) - 1) for i in range(-(-len(batch) // size) * size)]]
        runs = [self._scores(filled[at : at + size]) for at in range(0, len(filled), size)]
        return np.concatenate(runs)[: len(batch)]

    def _run_size(self, images: int) -> int:
        """Return how many images to run for so many, where the graph takes any number."""
        return images

    @abstractmethod
    def _run(self, feed: np.ndarray) -> np.ndarray:
        """Run the graph once; returns what the answering fetch holds, the caller's own copy.

        Raises:
            PredictorError: the runtime failed.
        """

    def _scores(self, batch: np.ndarray) -> np.ndarray:
        scores = self._run(as_feed(batch, self._feed))
        if scores.shape[:1] != (len(batch),):
            raise PredictorError(
                f"the fetch {self._fetch.name} has the shape {_shape(scores.shape)} for "
                f"{len(batch)} images; if the graph takes one image a run, set batch_size to 1"
            )
        return scores.reshape(len(batch), -1).astype(np.float32, copy=False)

    def _check_shape(self, batch: np.ndarray) -> None:
        # 0.9's converter leaves open dimensions out: `shape: 3` may stand for 3 x any x any.
        if not fits(batch.shape[1:], self._feed.shape, open_left_out=True):
            raise PredictorError(
                f"the model's feed {self._feed.name} takes {_shape(self._feed.shape)} and the "
                f"preprocessing makes {_shape(batch.shape[1:])}; mend PreProcess in inference.yml"
            )


def _only_feed(bundle: Bundle) -> TensorSpec:
    hindrance = feed_hindrance(bundle.model_config)
    if hindrance:
        raise PredictorError(f"the model cannot be served: {hindrance}; export it again")
    return bundle.model_config.feeds[0]


def _answering_fetch(bundle: Bundle, alias: str | None) -> TensorSpec:
    config = bundle.model_config
    known = ", ".join(f"{fetch.alias} ({fetch.dtype})" for fetch in config.fetches)
    fetch = config.fetches[config.answering]
    if alias is not None:
        named = [candidate for candidate in config.fetches if candidate.alias == alias]
        if not named:
            raise PredictorError(
                f"the model has no fetch {alias!r}; mend fetch_list: it has {known}"
            )
        fetch = named[0]
    hindrance = fetch_hindrance(fetch)
    if hindrance:
        raise PredictorError(
            f"the model cannot be served: {hindrance}; it has {known}: name one of scores in"
            " fetch_list, or export it with its softmax output"
        )
    return fetch


def _shape(shape: tuple[int, ...]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in shape)
