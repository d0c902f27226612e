"""Resizing that keeps the ratio of an image: to a height, by its long side, between two sides."""

from __future__ import annotations

import math
from typing import Any, Optional, Union

import cv2
import numpy as np

from protocol.errors import InvalidRequest

from ..errors import PreprocessError
from .number import switch, whole
from .resampling import check_pixels, opencv_flag, resampler
from .step import Step, pair


def resize_to_height(
    height: int,
    max_width: int,
    interpolation: Optional[str] = None,
    backend: str = "cv2",
) -> Step:
    """Resize lines of text as PaddleOCR does; ours.

    The width follows the height, rounded up. An image that would be wider than `max_width` is
    pressed to it, as in PaddleOCR.
    """
    high = whole(height, "ResizeToHeight: height")
    widest = whole(max_width, "ResizeToHeight: max_width")
    resample = resampler(interpolation, backend)

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        # In PaddleOCR's order of operations: the rounding depends on it.
        ratio = have_w / float(have_h)
        return resample(image, (min(widest, math.ceil(high * ratio)), high))

    return step


def resize_by_long(
    long_size: int = 256,
    interp: Optional[str] = None,
    backend: str = "cv2",
) -> Step:
    """Resize until the long side is `long_size`, as PaddleX' ResizeByLong does."""
    long_side = whole(long_size, "ResizeByLong: long_size")
    resample = resampler(interp, backend)

    def step(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        scale = float(long_side) / float(max(height, width))
        return resample(image, (int(round(width * scale)), int(round(height * scale))))

    return step


def resize(
    target_size: Any = None,  # noqa: ANN401 - YAML
    keep_ratio: bool = True,
    interp: Union[int, str] = cv2.INTER_LINEAR,
    size: Any = None,  # noqa: ANN401 - YAML
) -> Step:
    """Resize as PaddleDetection's deployment does.

    Args:
        target_size: one number, or [height, width].
        keep_ratio: the short side becomes the shorter one of `target_size`; where the long side
            would be longer than the longer one, that side decides.
        interp: OpenCV's number of an interpolation, or its name.
        size: is refused: it is the option of another library's Resize.
    """
    if size is not None:
        raise PreprocessError(
            "Resize: size is torchvision's and paddle.vision's; write ResizeImage:"
            " {resize_short: N, rounding: floor, backend: pil} for one number, {size: [width,"
            " height], backend: pil} for two"
        )
    height, width = pair(target_size, "Resize: target_size")
    flag = opencv_flag(interp, "Resize: interp")
    keep = switch(keep_ratio, "Resize: keep_ratio")
    short, long_side = min(height, width), max(height, width)

    def factors(have: np.ndarray) -> np.ndarray:
        if not keep:
            return np.array([height / float(have[0]), width / float(have[1])])
        scale = short / float(have.min())
        if np.round(scale * have.max()) > long_side:
            scale = long_side / float(have.max())
        return np.array([scale, scale])

    def step(image: np.ndarray) -> np.ndarray:
        have = np.array(image.shape[:2])
        scale_y, scale_x = factors(have)
        size = round(have[1] * scale_x), round(have[0] * scale_y)
        check_pixels(size)
        if min(size) < 1:
            raise InvalidRequest(
                "the image is too long and thin: resized for the model, a side of it has no pixels"
            )
        # By factors and not by a size: OpenCV then reads other points between the pixels.
        resized = cv2.resize(image, None, None, fx=scale_x, fy=scale_y, interpolation=flag)
        return resized.reshape(*resized.shape[:2], image.shape[2])

    return step
