"""The evaluated model: a bundle in this process, or a service over HTTP or RPC.

Both return every score: a threshold set in the bundle or the service does not apply, so that the
evaluation can show the effect of any threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rich.console import Console
from rich.progress import track

from client.classify_client import ClassifyClient
from client.errors import Unreachable, UnreadableImage, error_text
from pipeline.classifier import Classifier, ClassifierSettings
from pipeline.predictors.predictor import PredictorOptions
from protocol.errors import PredictionFailed, ServingError, TooLarge, UndecodableImage
from protocol.reply import ImageResult
from protocol.request import EncodedImage
from tools.datasets.images import Dataset

from .errors import EvaluationError
from .measures import Evaluated

_ALL_CLASSES = 1_000_000
# Errors of one image; any other error of the first result is one of the service.
_OWN_FAULTS = (UnreadableImage, UndecodableImage, TooLarge)


class Model(Protocol):
    """Classifies images."""

    @property
    def name(self) -> str:
        """Its name in the report."""
        ...

    def classify(self, images: Sequence[str], topk: int) -> Iterator[ImageResult]:
        """Yield the best `topk` categories of each image, or its error, in order.

        Raises:
            EvaluationError: the model is gone.
        """
        ...


class BundleModel:
    """The classifier that a worker of the service runs.

    Raises:
        BundleError, PredictorError, PreprocessError: the bundle cannot be loaded.
    """

    def __init__(self, bundle: Path, *, batch_size: int, threads: int) -> None:
        self.name = f"the bundle {bundle}"
        self._batch_size = batch_size
        self._classifier = Classifier.from_settings(
            ClassifierSettings(str(bundle), predictor=PredictorOptions(threads=threads))
        )

    def classify(self, images: Sequence[str], topk: int) -> Iterator[ImageResult]:
        """Yield the results, a batch at a time; raises PredictorError if the model fails."""
        for start in range(0, len(images), self._batch_size):
            read = [_read(path) for path in images[start : start + self._batch_size]]
            encoded = [
                # Scores of a model without softmax may be below zero.
                EncodedImage(data, topk, -math.inf)
                for data in read
                if isinstance(data, bytes)
            ]
            results = iter(self._classifier.classify(encoded))
            for data in read:
                yield next(results) if isinstance(data, bytes) else data


class ServiceModel:
    """A running service, used as any client uses it, several images at a time."""

    def __init__(self, client: ClassifyClient, address: str, *, jobs: int) -> None:
        self.name = f"the service {client.service} at {address}"
        self._client = client
        self._jobs = jobs

    def classify(self, images: Sequence[str], topk: int) -> Iterator[ImageResult]:
        """Yield the results."""
        outcomes = self._client.classify_many(images, topk, threshold=0.0, jobs=self._jobs)
        for outcome in outcomes:
            if isinstance(outcome.result, Unreachable):
                outcomes.close()
                raise EvaluationError(f"{outcome.result}; is the service running?")
            yield outcome.result


def labels_of(model: Model, images: Sequence[str]) -> tuple[str, ...]:
    """Return all labels of the model, in the order of its classes, from the first result.

    Raises:
        EvaluationError: it classifies none of `images`, or does not number its classes.
    """
    faults: list[ServingError] = []
    for image in images:
        (result,) = model.classify([image], _ALL_CLASSES)
        if not isinstance(result, ServingError):
            by_number = {category.class_id: category.label for category in result}
            if sorted(by_number) != list(range(len(result))) or not result:
                raise EvaluationError(
                    f"{model.name} does not return all classes 0, 1, 2 ... (Paddle Serving "
                    "0.9 sends no numbers, scores below 0 are left out); evaluate its bundle "
                    "with --bundle"
                )
            return tuple(by_number[number] for number in range(len(by_number)))
        faults.append(result)
        if not isinstance(result, _OWN_FAULTS):
            raise EvaluationError(f"{model.name} does not answer: {error_text(result)}")
    raise _nothing(len(images), faults)


def results_of(
    model: Model, dataset: Dataset, class_ids: Mapping[str, int | None], topk: int
) -> tuple[Evaluated, ...]:
    """Classify all images of `dataset` except those whose class is None, under a progress bar.

    Raises:
        EvaluationError: the model is gone, or classified none.
    """
    wanted = [
        (image.path, class_id)
        for image in dataset.images
        if (class_id := class_ids[image.class_name]) is not None
    ]
    console = Console(stderr=True)
    results = track(
        model.classify([path for path, _ in wanted], topk),
        "evaluating",
        total=len(wanted),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    )
    images = tuple(
        # A classifier of the user's own may return none.
        Evaluated(path, class_id, result or PredictionFailed("the answer holds no category"))
        for (path, class_id), result in zip(wanted, results, strict=True)
    )
    errors = [one.result for one in images if isinstance(one.result, ServingError)]
    if len(errors) == len(images):
        raise _nothing(len(images), errors)
    return images


def _nothing(count: int, faults: Sequence[ServingError]) -> EvaluationError:
    first = f"; the first: {error_text(faults[0])}" if faults else ""
    return EvaluationError(f"none of {count} images could be evaluated{first}")


def _read(path: str) -> bytes | UnreadableImage:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        return UnreadableImage(f"cannot read {path}: {reason}")
