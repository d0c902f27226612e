"""ResizeImage: to a size, or until the short side has a length."""

from __future__ import annotations

from typing import Any, Optional, Tuple

import numpy as np

from ..errors import PreprocessError
from .resampling import MAX_RESIZED_PIXELS, Resample, check_enlarged, resampler
from .step import Step, pair

Size = Tuple[int, int]


def resize_image(
    size: Any = None,  # noqa: ANN401 - YAML
    resize_short: Optional[float] = None,
    max_long: Optional[int] = None,
    interpolation: Optional[str] = None,
    backend: str = "cv2",
    return_numpy: bool = True,  # noqa: ARG001 - PaddleClas writes it; arrays are all we have
    rounding: str = "nearest",
    fit: Optional[str] = None,
) -> Step:
    """Resize to `size`, or until the short side is `resize_short`; as PaddleClas does.

    Args:
        size: one number, or [width, height].
        resize_short: length of the short side in pixels; the long one follows.
        max_long: limit of the long side with `resize_short`, PaddleX' `max_size`.
        interpolation: see `resampler`.
        backend: cv2 or pil.
        return_numpy: is not read.
        rounding: of the long side with `resize_short`: `nearest`, or `floor` as torchvision does.
        fit: how `size` is kept with the ratio of the image: `inside` it, `cover` it (timm),
            `paddlex` (inside it, rounded as PaddleX rounds), or `crop` (Keras' keep_aspect_ratio:
            the largest centre of that ratio fills `size`).
    """
    resample = resampler(interpolation, backend)
    if rounding not in ("nearest", "floor"):
        raise PreprocessError(
            "ResizeImage: rounding is nearest or floor, not {!r}".format(rounding)
        )
    if resize_short is not None and (
        isinstance(resize_short, bool)
        or not isinstance(resize_short, (int, float))
        or not resize_short <= MAX_RESIZED_PIXELS
    ):
        raise PreprocessError(
            "ResizeImage: resize_short is a number of pixels, not {!r}".format(resize_short)
        )
    if resize_short is not None and resize_short > 0:  # otherwise size counts, as in PaddleClas
        if fit is not None:
            raise PreprocessError("ResizeImage: fit belongs to size, not to resize_short")
        return _to_short_side(resample, float(resize_short), max_long, floor=rounding == "floor")
    if size is None:
        raise PreprocessError("ResizeImage needs size or resize_short above 0")
    return _to_size(resample, pair(size, "ResizeImage: size"), fit)


def _to_short_side(
    resample: Resample,
    short: float,
    max_long: Optional[int],
    floor: bool,
) -> Step:
    if max_long is not None and (
        not isinstance(max_long, int) or not 1 <= max_long <= MAX_RESIZED_PIXELS
    ):
        raise PreprocessError(
            "ResizeImage: max_long is a number of pixels, not {!r}".format(max_long)
        )
    if floor and (max_long is not None or short != int(short)):
        raise PreprocessError(
            "ResizeImage: rounding floor takes a whole number for resize_short, and no max_long"
        )

    def step(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        if floor:
            size = _floored(width, height, int(short))
            check_enlarged(image, size)
            return resample(image, size)
        # In PaddleClas' order of operations: the rounding depends on it.
        ratio = short / min(width, height)
        # PaddleX' max_size: the long side's limit, where both cannot be had
        if max_long is not None and np.round(ratio * max(width, height)) > max_long:
            ratio = max_long / max(width, height)
        size = int(round(width * ratio)), int(round(height * ratio))
        check_enlarged(image, size)
        return resample(image, size)

    return step


def _floored(width: int, height: int, short: int) -> Size:
    """The size as torchvision computes it: the fraction of the long side is cut off."""
    if width <= height:
        return short, int(short * height / width)
    return int(short * width / height), short


def _to_size(resample: Resample, size: Size, fit: Optional[str]) -> Step:
    if fit is None:
        return lambda image: resample(image, size)
    if fit == "crop":
        return lambda image: resample(image, size, _centre_of_ratio(image, size))
    if fit == "paddlex":
        return lambda image: resample(image, _inside(image, size))
    if fit not in ("inside", "cover"):
        raise PreprocessError(
            "ResizeImage: fit is inside, cover, crop or paddlex, not {!r}".format(fit)
        )
    choose = max if fit == "inside" else min

    def step(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        # In timm's order of operations: the rounding depends on it.
        ratio = choose(height / size[1], width / size[0])
        resized = round(width / ratio), round(height / ratio)
        if fit == "cover":
            check_enlarged(image, resized)
        return resample(image, resized)

    return step


def _inside(image: np.ndarray, size: Size) -> Size:
    """The size inside `size`, in PaddleX' order of operations."""
    height, width = image.shape[:2]
    scale = min(size[1] / height, size[0] / width)
    return int(round(width * scale)), int(round(height * scale))


def _centre_of_ratio(image: np.ndarray, size: Size) -> Tuple[int, int, int, int]:
    """The largest centred box that has the ratio of `size`, as Keras' load_img computes it."""
    height, width = image.shape[:2]
    box_height = min(height, max(1, (width * size[1]) // size[0]))
    box_width = min(width, max(1, (height * size[0]) // size[1]))
    left, top = (width - box_width) // 2, (height - box_height) // 2
    return left, top, left + box_width, top + box_height
