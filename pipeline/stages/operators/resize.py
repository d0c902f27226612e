"""ResizeImage: to a size, or until the short side has a length."""

from __future__ import annotations

from typing import Any, Callable, Optional, Tuple

import cv2
import numpy as np

from protocol.errors import TooLarge

from ..errors import PreprocessError
from .step import Step, pair

# An image of 1 x 40000 pixels, its short side enlarged to 256, would take gigabytes.
MAX_RESIZED_PIXELS = 100_000_000

_INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}


def resize_image(
    size: Any = None,  # noqa: ANN401 - YAML
    resize_short: Optional[float] = None,
    max_long: Optional[int] = None,
    interpolation: Optional[str] = None,
    backend: str = "cv2",
    return_numpy: bool = True,  # noqa: ARG001 - PaddleClas writes it; arrays are all we have
) -> Step:
    """Resize to `size`, or until the short side is `resize_short`; as PaddleClas does."""
    resize = _resizer(interpolation, backend)
    if resize_short is not None and (
        isinstance(resize_short, bool) or not isinstance(resize_short, (int, float))
    ):
        raise PreprocessError(
            "ResizeImage: resize_short is a number of pixels, not {!r}".format(resize_short)
        )
    if resize_short is not None and resize_short > 0:  # otherwise size counts, as in PaddleClas
        short = float(resize_short)
        if max_long is not None and (not isinstance(max_long, int) or max_long < 1):
            raise PreprocessError(
                "ResizeImage: max_long is a number of pixels, not {!r}".format(max_long)
            )

        def step(image: np.ndarray) -> np.ndarray:
            height, width = image.shape[:2]
            # In PaddleClas' order of operations: the rounding depends on it.
            ratio = short / min(width, height)
            # PaddleX' max_size: the long side's limit, where both cannot be had
            if max_long is not None and np.round(ratio * max(width, height)) > max_long:
                ratio = max_long / max(width, height)
            return resize(image, (int(round(width * ratio)), int(round(height * ratio))))

        return step
    if size is None:
        raise PreprocessError("ResizeImage needs size or resize_short above 0")
    fixed = pair(size, "ResizeImage: size")
    return lambda image: resize(image, fixed)


def _resizer(
    interpolation: Optional[str], backend: str
) -> Callable[[np.ndarray, Tuple[int, int]], np.ndarray]:
    name = str(interpolation or "bilinear").lower()
    if str(backend).lower() == "pil":
        return _pillow_resizer(name)
    if str(backend).lower() != "cv2":
        raise PreprocessError("ResizeImage: backend is cv2 or pil, not {!r}".format(backend))
    if name not in _INTERPOLATIONS:
        raise PreprocessError(
            "ResizeImage: interpolation is one of {}, not {!r}".format(
                ", ".join(_INTERPOLATIONS), name
            )
        )
    flag = _INTERPOLATIONS[name]

    def resize(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        _check_resized(size)
        return cv2.resize(image, size, interpolation=flag)

    return resize


def _pillow_resizer(name: str) -> Callable[[np.ndarray, Tuple[int, int]], np.ndarray]:
    """Pillow filters differently from OpenCV; some models were trained with it."""
    try:
        from PIL import Image
    except ImportError as error:
        raise PreprocessError(
            "ResizeImage: backend pil needs Pillow; pip install pillow"
        ) from error
    flag = getattr(Image.Resampling, name.upper(), None)
    if flag is None:
        raise PreprocessError("ResizeImage: pil has no interpolation {!r}".format(name))

    def resize(image: np.ndarray, size: Tuple[int, int]) -> np.ndarray:
        _check_resized(size)
        return np.asarray(Image.fromarray(np.ascontiguousarray(image)).resize(size, flag))

    return resize


def _check_resized(size: Tuple[int, int]) -> None:
    if size[0] * size[1] > MAX_RESIZED_PIXELS:
        raise TooLarge(
            "the image is too long and thin: resized for the model it would have "
            "{} x {} pixels".format(*size)
        )
