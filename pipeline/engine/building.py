"""What a worker runs, and how it is built from the start message."""

from __future__ import annotations

import hashlib
import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

from protocol.reply import ImageResult
from protocol.request import EncodedImage

from ..stages.work import is_surely_quick
from .decode_process import DecodeProcess
from .decode_thread import DecodeThread
from .preparing import is_usual, measured, start_of
from .warming import warmed_up
from .work import EACH_FACT, light_budget_s

if TYPE_CHECKING:
    import numpy as np

    from ..classifier import Classifier


Budgets: TypeAlias = Sequence[tuple[float, float, bool]]


class Answering(Protocol):
    """What a worker runs; `facts` is JSON-able and shown in the start-up block and the status."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """What is served: model, backend, number of classes."""
        ...

    @property
    def stages_s(self) -> Mapping[str, float]:
        """How many seconds each stage of the last `answer` took; empty if it does not measure."""
        ...

    @property
    def rest_after_s(self) -> float | None:
        """After how many seconds without a batch `rest` is to be called; None: never."""
        ...

    def rest(self) -> None:
        """Give back what the next batch can do without."""
        ...

    def answer(self, images: Sequence[EncodedImage], budgets_s: Budgets) -> Sequence[ImageResult]:
        """Return one result per image, in order; a bad image fails alone, as its own result.

        `budgets_s` has, of each heavy image, the seconds in which it may be decoded, those that are
        left to its request, and whether a worker died over it; it is empty if the images are not
        heavy.
        """
        ...


def build(factory: str, settings_json: str) -> Answering:
    """Call `factory` ("module:function") with the settings."""
    module, _, name = factory.partition(":")
    function = cast(Callable[[str], Answering], getattr(importlib.import_module(module), name))
    return function(settings_json)


def build_classifier(settings_json: str) -> Answering:
    """Load the classifier that `ClassifierSettings` in JSON name, and warm it up.

    Raises:
        BundleError, PredictorError, ValueError: one line says what is wrong.
    """
    # Only here: a worker with another factory needs neither numpy nor OpenCV.
    from ..classifier import ClassifierSettings, load_classifier

    began = time.monotonic()
    settings = ClassifierSettings.from_json(settings_json)
    classifier = load_classifier(settings)
    return _Classifying(classifier, warmed_up(classifier, settings, began))


class _Classifying:
    """A `Classifier` as a worker runs it, with a bound on the time of each image's decoding.

    The steps of a user's own class run as they are, in the worker itself.
    """

    def __init__(self, classifier: Classifier, facts: Mapping[str, Any] | None = None) -> None:
        """`facts` are those of the warm-up."""
        self._classifier = classifier
        pace = measured(classifier)
        self._steps = None
        if is_usual(classifier):
            self._steps = _BoundedSteps(classifier, pace.get(EACH_FACT, 0.0))
        self.facts = {**classifier.facts, **_code_of(type(classifier)), **pace, **(facts or {})}
        self.stages_s: Mapping[str, float] = {}

    @property
    def rest_after_s(self) -> float | None:
        return None if self._steps is None else self._steps.process.rest_after_s

    def rest(self) -> None:
        if self._steps is not None:
            self._steps.process.close()

    def answer(self, images: Sequence[EncodedImage], budgets_s: Budgets) -> Sequence[ImageResult]:
        if self._steps is None:
            results = self._classifier.classify(images)
            self.stages_s = self._classifier.stages_s
            return results
        prepared, decode_s = self._steps.prepared([image.data for image in images], budgets_s)
        results = self._classifier.classify(images, prepared)
        stages_s = self._classifier.stages_s
        self.stages_s = {**stages_s, "decode": stages_s["decode"] + decode_s}
        return results


class _BoundedSteps:
    """Decoding and preprocessing: of heavy images in a process, of others in a thread.

    Batches of nothing but small JPEGs need no bound, and are prepared here: to wake a thread and be
    woken by it costs more than many other steps of a request.
    """

    def __init__(self, classifier: Classifier, each_s: float) -> None:
        """`each_s` is what an image takes beside its pixels."""
        self.process = DecodeProcess(start_of(classifier))
        self._light_s = light_budget_s(each_s)
        self._prepare = lambda data: classifier.preprocess(classifier.decode(data))
        self._thread = DecodeThread(self._prepare)

    def prepared(
        self, images: Sequence[bytes], budgets_s: Budgets
    ) -> tuple[list[np.ndarray | Exception], float]:
        """Return what the model is fed of each image, and how long that took."""
        began = time.perf_counter()
        prepared: list[np.ndarray | Exception] = []
        if not budgets_s and all(map(is_surely_quick, images)):
            prepared = [_result_of(self._prepare, data) for data in images]
        elif not budgets_s:
            prepared = self._thread.prepared(images, self._light_s)
        decode_s = time.perf_counter() - began
        # Heavy images, or those that are left of others because the threads are worn.
        bounds = budgets_s or [(self._light_s, 5 * self._light_s, True)] * len(images)
        for position in range(len(prepared), len(images)):
            array, seconds = self._prepared_alone(images[position], *bounds[position])
            prepared.append(array)
            decode_s += seconds
        return prepared, decode_s

    def _prepared_alone(
        self, image: bytes, budget_s: float, left_s: float, is_dangerous: bool
    ) -> tuple[np.ndarray | Exception, float]:
        # The process starts in a second, on a busy machine in several, for which only images wait
        # that have done harm.
        if is_dangerous or self._thread.is_worn or self.process.is_up():
            return self.process.prepared(image, budget_s, left_s), self.process.last_s
        began = time.perf_counter()
        (array,) = self._thread.prepared([image], min(budget_s, left_s))
        return array, time.perf_counter() - began


def _result_of(prepare: Callable[[bytes], np.ndarray], data: bytes) -> np.ndarray | Exception:
    try:
        return prepare(data)
    except Exception as error:  # noqa: BLE001 - raised again by the classifier
        return error


def _code_of(kind: type) -> dict[str, Any]:
    """Return the file of a user's own class, and its hash; {} for ours, and where it has none."""
    if kind.__module__.partition(".")[0] == __name__.partition(".")[0]:
        return {}
    path = getattr(sys.modules.get(kind.__module__), "__file__", None)
    try:
        file = Path(str(path)).resolve()
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return {}
    return {"code": {"file": str(file), "sha256": digest}}
