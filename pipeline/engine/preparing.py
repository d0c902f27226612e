"""What the decode process, and the engine, need to know of a worker's classifier."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..stages.work import estimated_megapixels
from .frames import Header
from .work import EACH_FACT, FACT

if TYPE_CHECKING:
    from ..classifier import Classifier

_OWN_STEPS = ("__init__", "from_settings", "decode", "preprocess", "classify")
_SIDES = (192, 768)
_TRIES = 3
# A measurement is no more exact than this: beside the milliseconds of a user's own steps, the
# pixels of a small image may seem to take no time.
_LEAST_SHARE = 0.02


def is_usual(classifier: Classifier) -> bool:
    """Whether images are prepared as `Classifier` does it, and not by steps of a user's own."""
    return all(is_function_of_ours(type(classifier), step) for step in _OWN_STEPS)


def is_function_of_ours(kind: type, name: str) -> bool:
    """Whether a class has this function of `Classifier`, and not one of a user's own."""
    from ..classifier import Classifier

    return _function(kind, name) is _function(Classifier, name)


def _function(kind: type, name: str) -> object:
    member = getattr(kind, name, None)
    return getattr(member, "__func__", member)


def start_of(classifier: Classifier) -> Header:
    """Return the start message of a decode process; see `decoder`."""
    operators = classifier.bundle.description.transform_ops
    return {
        "kind": "start",
        "transform_ops": [{op.name: dict(op.options or {})} for op in operators],
        "max_pixels": classifier.limits.max_pixels,
        "reduce_to": classifier.limits.reduce_to,
    }


def measured(classifier: Classifier) -> dict[str, float]:
    """Return what an image takes here, and a megapixel of work beside that, in seconds.

    Computing time, since other workers start at the same time. Empty where a user's own steps fail
    over the images of the measurement.
    """
    images = [_photo(side) for side in _SIDES]
    try:
        tries = [[_seconds(classifier, image) for image in images] for _ in range(_TRIES)]
    except Exception:  # noqa: BLE001 - a user's own steps; the engine learns from batches then
        return {}
    small_s, large_s = map(min, zip(*tries, strict=True))
    small, large = map(estimated_megapixels, images)
    pace_s = max((large_s - small_s) / (large - small), _LEAST_SHARE * large_s / large)
    return {FACT: pace_s, EACH_FACT: max(0.0, small_s - pace_s * small)}


def _photo(side: int) -> bytes:
    rows, columns = np.mgrid[0:side, 0:side]
    plane = ((rows * columns) // 64 % 256).astype(np.uint8)
    image = cv2.GaussianBlur(cv2.merge([plane] * 3), (9, 9), 3)
    return cv2.imencode(".jpg", image)[1].tobytes()


def _seconds(classifier: Classifier, image: bytes) -> float:
    began = time.thread_time()
    classifier.preprocess(classifier.decode(image))
    return time.thread_time() - began
