"""Encoded images -> categories: the operation that a service runs, in one readable place.

Subclass `Classifier` (also called `ClasOp`, as in Paddle Serving's samples) to change a step, and
name the class in config.yml: `classifier: my_package.my_module:MyClassifier`.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np

from bundle import Bundle, BundleError, load_bundle
from bundle.labels import check_count
from protocol.errors import PredictionFailed, ServingError
from protocol.reply import Category, ImageResult
from protocol.request import EncodedImage

from .predictors import Predictor, PredictorError, PredictorOptions, load_predictor
from .predictors.feed import doubt, misfit, size_taken, survey
from .stages.activation import activate
from .stages.decode import DEFAULT_MAX_PIXELS, DecodeLimits, decode_image
from .stages.preprocess import build_preprocess
from .stages.topk import of_two, top_k

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, slots=True)
class ClassifierSettings:
    """All that a worker process needs to build its classifier; travels as JSON.

    `topk` 0 and `labels` None mean the bundle's own; `batch_size` is the largest batch;
    `classifier` is the class that is built, `module:Class`. The labels themselves travel, not their
    file: a worker that is started again later answers like its neighbours, whatever became of it.
    """

    model_dir: str
    backend: str = "auto"
    topk: int = 0
    labels: tuple[str, ...] | None = None
    labels_file: str = ""  # for messages and the status
    labels_sha256: str = ""
    predictor: PredictorOptions = dataclasses.field(default_factory=PredictorOptions)
    max_image_pixels: int = DEFAULT_MAX_PIXELS
    batch_size: int = 8
    classifier: str = "pipeline.classifier:Classifier"
    threshold: float | None = None
    fast_decode: bool = False

    def to_json(self) -> str:
        """Return the settings as JSON text."""
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str) -> ClassifierSettings:
        """Read what `to_json` wrote."""
        fields = json.loads(text)
        fields["predictor"] = PredictorOptions(**fields["predictor"])
        if fields["labels"] is not None:
            fields["labels"] = tuple(fields["labels"])
        return cls(**fields)


class Classifier:
    """Decodes, preprocesses, predicts and answers the best categories."""

    def __init__(
        self,
        bundle: Bundle,
        predictor: Predictor,
        *,
        topk: int = 0,
        labels: Sequence[str] | None = None,
        threshold: float | None = None,
        max_image_pixels: int = DEFAULT_MAX_PIXELS,
        fast_decode: bool = False,
    ) -> None:
        self.bundle = bundle
        self.predictor = predictor
        self.labels = labels or bundle.labels
        # 0 of a bundle: all categories, as a model of several labels an image answers
        self._topk = topk or bundle.description.topk
        self._threshold = threshold
        self._preprocess = build_preprocess(bundle.description.transform_ops)
        short_side = self._preprocess.short_side if fast_decode else None
        self.limits = DecodeLimits(max_image_pixels, reduce_to=short_side)
        self._warned = False
        self._contradiction = bundle.description.contradiction(bundle.output_activation)
        self._by_class: tuple[float, ...] = ()
        # Seconds that the last `classify` took: "decode", with the preprocessing, and "predict".
        self.stages_s: Mapping[str, float] = {}

    @classmethod
    def from_settings(cls, settings: ClassifierSettings) -> Classifier:
        """Load bundle, labels and model.

        Raises:
            BundleError, PredictorError, PreprocessError: one line says what is wrong.
        """
        cv2.setNumThreads(1)  # workers are the parallelism; more threads only get in their way
        bundle = load_bundle(Path(settings.model_dir))
        if settings.labels is not None:
            check_count(settings.labels, bundle.classes, settings.labels_file)
        bundle, predictor = load_predictor(bundle, settings.backend, settings.predictor)
        config = bundle.model_config
        if settings.predictor.fetch not in (None, config.fetches[config.answering].alias):
            # the record is about the output that the bundle answers from
            bundle = dataclasses.replace(bundle, output_activation=None)
        return cls(
            bundle,
            predictor,
            topk=settings.topk,
            labels=settings.labels,
            threshold=settings.threshold,
            max_image_pixels=settings.max_image_pixels,
            fast_decode=settings.fast_decode,
        )

    @property
    def facts(self) -> Mapping[str, Any]:
        """What the start-up block and the status show."""
        feed = self.bundle.model_config.feeds[0]
        return {
            "model": self.bundle.description.model_name or self.bundle.path.name,
            "model_file": str(self.bundle.model_file),
            "labels_file": str(self.bundle.server_dir / "inference.yml")
            if self.bundle.labels is not None
            else None,
            "backend": self.predictor.name,
            "form": self.bundle.form,
            "classes": len(self.labels) if self.labels else self.bundle.classes,
            "feed": feed.name,
            "fetch": self.bundle.model_config.fetches[0].alias,
        }

    def classify(
        self,
        images: Sequence[EncodedImage],
        prepared: Sequence[np.ndarray | Exception] | None = None,
    ) -> list[ImageResult]:
        """Return the categories of each image, best first, or its error, in order.

        An image that cannot be decoded fails alone; the others go through the model as one batch.
        `prepared` has what `decode` and `preprocess` gave or raised, where they ran elsewhere.
        """
        began = time.perf_counter()
        results: list[ImageResult | None] = [None] * len(images)
        arrays: dict[tuple[int, ...], list[tuple[int, np.ndarray]]] = {}
        for position, image in enumerate(images):
            try:
                if prepared is None:
                    array = self.preprocess(self.decode(image.data))
                else:
                    array = _array(prepared[position])
            except ServingError as error:
                results[position] = error
            else:
                # Without a fixed size in the preprocessing, shapes may differ: a batch for each.
                arrays.setdefault(array.shape, []).append((position, array))
        decoded = time.perf_counter()
        predict_s = 0.0
        for batch in arrays.values():
            predict_began = time.perf_counter()
            rows = self._predict([array for _, array in batch])
            predict_s += time.perf_counter() - predict_began
            for (position, _), row in zip(batch, rows, strict=True):
                results[position] = self._answer(row, images[position])
        self.stages_s = {"decode": decoded - began, "predict": predict_s}
        # A subclass's step may have answered None; every other answer keeps its place.
        return [
            PredictionFailed("the classifier gave no answer") if result is None else result
            for result in results
        ]

    def decode(self, data: bytes) -> np.ndarray:
        """Return uint8 [H, W, 3] RGB; raises ServingError for a bad image."""
        return decode_image(data, self.limits)

    def preprocess(self, image: np.ndarray) -> np.ndarray:
        """Return float32 [C, H, W] of a decoded image, as the bundle describes it."""
        return self._preprocess(image)

    def postprocess(
        self, scores: np.ndarray, topk: int, threshold: float | Sequence[float] | None
    ) -> tuple[Category, ...]:
        """Return the best `topk` of `scores`, float32 [classes], that reach `threshold`.

        It is one for all classes, or one a class, in their order. Of two classes that the bundle
        decides between by a threshold of its own, the first is the one it decides for.
        """
        if self.labels is None:
            self.labels = tuple(map(str, range(len(scores))))
        positive = self.bundle.description.positive_threshold
        if positive is not None and not isinstance(threshold, Sequence):
            best = of_two(scores, self.labels, topk, positive, threshold)
        else:
            best = top_k(scores, self.labels, topk, threshold)
        return tuple(Category(*one) for one in best)

    def check_feed(self) -> None:
        """Compare what preprocessing gives with the feed: bundles may be old, or edited by hand.

        Raises:
            PredictorError: the model does not take what preprocessing gives.
        """
        feed = self.bundle.model_config.feeds[0]
        description = self.bundle.server_dir / "inference.yml"
        try:
            prepared = survey(self.preprocess, (512, 512))
        except ServingError as error:
            raise PredictorError(f"{description}: {error}") from error
        wrong = misfit(prepared, feed, open_left_out=True)
        if wrong is not None:
            raise PredictorError(f"{description}: {wrong}")
        doubtful = doubt(prepared, feed)
        if doubtful is not None:
            logger.warning("%s: %s", description, doubtful)

    def warm_up(
        self,
        batch_sizes: Sequence[int],
        rounds: Iterable[object] = (None,),
        clock: Callable[[], float] = time.perf_counter,
    ) -> Mapping[int, float]:
        """Predict grey images in batches of these sizes, so that no caller pays for the first.

        Each of the `rounds` predicts every size once. Returns the seconds of `clock` that the
        quickest run of each size took.

        Raises:
            PredictorError: preprocessing gives what the model does not take, or the model does not
                run, or gives no numbers for a grey image.
            BundleError: there are not as many labels as classes.
        """
        quickest: dict[int, float] = {}
        if not batch_sizes:
            return quickest
        self.check_feed()
        height, width = size_taken(self.preprocess, (512, 512))
        array = self.preprocess(np.full((height, width, 3), 127, np.uint8))
        for _ in rounds:
            for size in batch_sizes:
                began = clock()
                row = self._predict([array] * size)[0]
                quickest[size] = min(clock() - began, quickest.get(size, math.inf))
                if isinstance(row, ServingError):
                    raise PredictorError(f"{row}: not even for a grey image; export it again")
                if self.labels is not None:
                    check_count(tuple(self.labels), len(row), f"the labels of {self.bundle.path}")
        return quickest

    def _predict(self, arrays: Sequence[np.ndarray]) -> Sequence[np.ndarray | ServingError]:
        """Return a row of scores, or an error, for each array."""
        outputs = self.predictor.predict(np.stack(arrays))
        if len(outputs) != len(arrays):
            raise PredictorError(f"{len(outputs)} rows of scores for {len(arrays)} images")
        scores = activate(outputs, self.bundle.description.activation)
        finite = np.isfinite(scores).all(axis=1)
        if not self._warned:
            self._warn_of(scores)
        return [
            row if good else PredictionFailed("the model answered with numbers that are not finite")
            for row, good in zip(scores, finite, strict=True)
        ]

    def _warn_of(self, scores: np.ndarray) -> None:
        """Warn once of a description that the graph contradicts, or scores that are no scores."""
        cause = self._contradiction
        # the record may be missing, as in a bundle of 0.9's converter, or wrong
        unsaid = self.bundle.description.activation is None
        if not cause and unsaid and (scores.min() < -1e-3 or scores.max() > 1.001):
            cause = (
                f"the scores are not in 0..1 (here {scores.min():.3g} to {scores.max():.3g}), so"
                " they are raw logits; convert it again with --softmax or --multi-label, or with"
                " --logits if they are meant so"
            )
        if cause:
            self._warned = True
            logger.warning("%s: %s", self.bundle.path, cause)

    def _answer(self, row: np.ndarray | ServingError, image: EncodedImage) -> ImageResult:
        if isinstance(row, ServingError):
            return row
        threshold = self._own_threshold(len(row)) if image.threshold is None else image.threshold
        return self.postprocess(row, image.topk or self._topk or len(row), threshold)

    def _own_threshold(self, classes: int) -> float | Sequence[float] | None:
        """The service's threshold, else the bundle's: one, or one a class."""
        thresholds = self.bundle.description.thresholds
        if self._threshold is not None or thresholds is None:
            return self._threshold
        if not thresholds.by_class:
            return thresholds.default
        if len(self._by_class) != classes:
            self._by_class = thresholds.of_classes(classes)
        return self._by_class


def _array(prepared: np.ndarray | Exception) -> np.ndarray:
    if isinstance(prepared, Exception):
        raise prepared
    return prepared


ClasOp = Classifier


def load_classifier(settings: ClassifierSettings) -> Classifier:
    """Build the class that `settings` name.

    Raises:
        BundleError: there is no such class, besides what `Classifier.from_settings` raises.
    """
    module_name, _, class_name = settings.classifier.partition(":")
    try:
        kind = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError, ValueError) as error:
        raise BundleError(
            f"there is no classifier {settings.classifier!r} (write module:Class): {error}"
        ) from error
    if not isinstance(kind, type) or not hasattr(kind, "from_settings"):
        raise BundleError(
            f"the classifier {settings.classifier!r} is {_described(kind)}; name a subclass of "
            "pipeline.classifier.ClasOp"
        )
    classifier: Classifier = kind.from_settings(settings)
    return classifier


def _described(kind: object) -> str:
    if isinstance(kind, type):
        return "a class of another kind"
    return "a module" if isinstance(kind, ModuleType) else f"no class but a {type(kind).__name__}"
