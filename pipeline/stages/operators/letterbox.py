"""Letterboxes: an image resized into a size with its ratio, and bars beside it."""

from __future__ import annotations

import math
from typing import Any, Tuple, Union

import cv2
import numpy as np

from .number import switch, whole
from .padding import on_ground
from .resampling import opencv_resampler
from .step import Step, pair


def letter_box(
    new_shape: Any = 640,  # noqa: ANN401 - YAML
    auto: bool = False,
    scale_fill: bool = False,
    scaleup: bool = True,
    center: bool = True,
    stride: int = 32,
    padding_value: int = 114,
    interpolation: Union[int, str] = cv2.INTER_LINEAR,
) -> Step:
    """Ultralytics' LetterBox.

    Args:
        new_shape: one number, or [height, width].
        auto: pad to the next multiple of `stride` only.
        scale_fill: stretch to `new_shape`, without bars; `auto` goes before it.
        scaleup: enlarge smaller images.
        center: bars on both sides; otherwise at the right and the bottom.
        stride: of the model, for `auto`.
        padding_value: grey level of the bars.
        interpolation: OpenCV's number of an interpolation, or its name.
    """
    height, width = pair(new_shape, "LetterBox: new_shape")
    resample = opencv_resampler(interpolation, "LetterBox: interpolation")
    multiple = whole(stride, "LetterBox: stride")
    grey = [float(whole(padding_value, "LetterBox: padding_value", 0))]
    minimal, enlarge = switch(auto, "LetterBox: auto"), switch(scaleup, "LetterBox: scaleup")
    stretch = switch(scale_fill, "LetterBox: scale_fill") and not minimal
    both = switch(center, "LetterBox: center")

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        ratio = min(height / have_h, width / have_w)
        ratio = ratio if enlarge else min(ratio, 1.0)
        inner = max(round(have_w * ratio), 1), max(round(have_h * ratio), 1)
        inner = (width, height) if stretch else inner
        free_w, free_h = width - inner[0], height - inner[1]
        if minimal:
            free_w, free_h = free_w % multiple, free_h % multiple
        (left, right), (top, bottom) = _bars(free_w, both), _bars(free_h, both)
        if inner != (have_w, have_h):
            image = resample(image, inner)
        size = (inner[0] + left + right, inner[1] + top + bottom)
        return on_ground(image, size, (left, top), grey)

    return step


def classify_letter_box(
    size: Any = 640,  # noqa: ANN401 - YAML
    auto: bool = False,
    stride: int = 32,
) -> Step:
    """Ultralytics' ClassifyLetterBox.

    Args:
        size: one number, or [height, width].
        auto: pad to the next multiple of `stride` only.
        stride: of the model, for `auto`.
    """
    height, width = pair(size, "ClassifyLetterBox: size")
    resample = opencv_resampler("bilinear", "ClassifyLetterBox")
    minimal = switch(auto, "ClassifyLetterBox: auto")
    multiple = whole(stride, "ClassifyLetterBox: stride")

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        ratio = min(height / have_h, width / have_w)
        inner = max(round(have_w * ratio), 1), max(round(have_h * ratio), 1)
        whole_size = (width, height)
        if minimal:
            whole_size = _next(inner[0], multiple), _next(inner[1], multiple)
        left = round((whole_size[0] - inner[0]) / 2 - 0.1)
        top = round((whole_size[1] - inner[1]) / 2 - 0.1)
        return on_ground(resample(image, inner), whole_size, (left, top), [114.0])

    return step


def letter_box_resize(target_size: Any) -> Step:  # noqa: ANN401 - YAML
    """PaddleDetection's LetterBoxResize: averages of areas, bars of 127.5.

    Args:
        target_size: one number, or [height, width].
    """
    height, width = pair(target_size, "LetterBoxResize: target_size")
    resample = opencv_resampler("area", "LetterBoxResize")

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        ratio = min(float(height) / have_h, float(width) / have_w)
        inner = max(round(have_w * ratio), 1), max(round(have_h * ratio), 1)
        left, _ = _bars(width - inner[0], both=True)
        top, _ = _bars(height - inner[1], both=True)
        # OpenCV rounds the grey of 8-bit pixels to the even number.
        grey = 128.0 if image.dtype == np.uint8 else 127.5
        return on_ground(resample(image, inner), (width, height), (left, top), [grey])

    return step


def _bars(free: int, both: bool) -> Tuple[int, int]:
    """The pixels before and after an image, of `free` ones."""
    if not both:
        return 0, free
    return round(free / 2 - 0.1), round(free / 2 + 0.1)


def _next(length: int, multiple: int) -> int:
    return math.ceil(length / multiple) * multiple
