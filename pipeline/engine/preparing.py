"""What the decode process, and the engine, need to know of a worker's classifier."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..stages.work import estimated_megapixels
from .frames import Header
from .work import FACT

if TYPE_CHECKING:
    from ..classifier import Classifier

_OWN_STEPS = ("__init__", "from_settings", "decode", "preprocess", "classify")
_SIDE = 768
_TRIES = 3


def is_usual(classifier: Classifier) -> bool:
    """Whether images are prepared as `Classifier` does it, and not by steps of a user's own."""
    from ..classifier import Classifier

    kind = type(classifier)
    return all(_function(kind, step) is _function(Classifier, step) for step in _OWN_STEPS)


def _function(kind: type, name: str) -> object:
    member = getattr(kind, name)
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


def measured(classifier: Classifier) -> dict[str, Any]:
    """Return what a megapixel of work takes here, in seconds, decoded and preprocessed.

    Empty where a user's own steps fail over the image of the measurement.
    """
    rows, columns = np.mgrid[0:_SIDE, 0:_SIDE]
    plane = ((rows * columns) // 64 % 256).astype(np.uint8)
    image = cv2.imencode(".jpg", cv2.GaussianBlur(cv2.merge([plane] * 3), (9, 9), 3))[1].tobytes()
    seconds = []
    try:
        for _ in range(_TRIES):
            began = time.perf_counter()
            classifier.preprocess(classifier.decode(image))
            seconds.append(time.perf_counter() - began)
    except Exception:  # noqa: BLE001 - a user's own steps; the engine learns from batches then
        return {}
    return {FACT: min(seconds) / estimated_megapixels(image)}
