"""Pixels around an image: to a size, to a multiple, or a border."""

from __future__ import annotations

import math
from typing import Any, List, Optional, Tuple

import numpy as np

from protocol.errors import InvalidRequest

from ..errors import PreprocessError
from .number import levels, whole
from .resampling import MAX_RESIZED_PIXELS, check_pixels
from .step import Step, pair

Size = Tuple[int, int]

# PaddleClas' pad_mode: where the new pixels are.
_SIDES = {"right": 0, "center": 1, "left": 2}


def pad_image(
    size: Any,  # noqa: ANN401 - YAML
    side: str = "right",
    value: Any = 0,  # noqa: ANN401 - YAML
) -> Step:
    """Put an image on a ground of `value`; ours.

    It stands before NormalizeImage, where `value` counts in pixels, or after it (order ''), where
    it counts in what the model is fed. The type of the elements stays as it is.

    Args:
        size: one number, or [width, height]; a larger image is an InvalidRequest.
        side: where the new pixels are: `right` (and at the bottom), `left` (and at the top), or
            `center` (around the image, the odd one at the right and the bottom).
        value: one number, or one for each channel.
    """
    wanted = pair(size, "PadImage: size")
    if side not in _SIDES:
        raise PreprocessError("PadImage: side is {}, not {!r}".format(", ".join(_SIDES), side))
    fill = levels(value, "PadImage: value")

    def step(image: np.ndarray) -> np.ndarray:
        offset = _offset(image, wanted, _SIDES[side], "PadImage")
        return on_ground(image, wanted, offset, fill)

    return step


def padv2(
    size: Any = None,  # noqa: ANN401 - YAML
    size_divisor: int = 32,
    pad_mode: int = 0,
    offsets: Any = None,  # noqa: ANN401 - YAML
    fill_value: Any = 127.5,  # noqa: ANN401 - YAML
) -> Step:
    """Pad and turn pixels into floats, as PaddleClas' Padv2 and PaddleX' Padding do.

    Args:
        size: one number, or [width, height]; a larger image is an InvalidRequest.
        size_divisor: without `size`, both sides become a multiple of it.
        pad_mode: 0 pads at the right and the bottom, 1 around, 2 at the left and the top, -1 puts
            the image at `offsets`.
        offsets: [x, y] of the image, with pad_mode -1.
        fill_value: one number, or one for each channel.
    """
    wanted = pair(size, "Padv2: size") if size else None
    divisor = whole(size_divisor, "Padv2: size_divisor")
    if isinstance(pad_mode, bool) or pad_mode not in (-1, 0, 1, 2):
        raise PreprocessError("Padv2: pad_mode is -1, 0, 1 or 2, not {!r}".format(pad_mode))
    place = _place(offsets) if pad_mode == -1 else None
    fill = levels(fill_value, "Padv2: fill_value")

    def step(image: np.ndarray) -> np.ndarray:
        target = wanted or _multiple(image, divisor)
        offset = _offset(image, target, pad_mode, "Padv2") if place is None else place
        _check_place(image, target, offset)
        return on_ground(image.astype(np.float32), target, offset, fill)

    return step


def pad(
    padding: Optional[int] = None,
    fill: Any = 0,  # noqa: ANN401 - YAML
    padding_mode: str = "constant",
    backend: str = "pil",  # noqa: ARG001 - written by PaddleClas; both give the same pixels
    size: Any = None,  # noqa: ANN401 - YAML
    fill_value: Any = 114.0,  # noqa: ANN401 - YAML
) -> Step:
    """A border of `padding` pixels (PaddleClas), or floats of a size (PaddleDetection).

    Args:
        padding: width of the border on all four sides.
        fill: a grey level, or one for each channel, with `padding`.
        padding_mode: constant is known.
        backend: is not read.
        size: one number, or [height, width] as PaddleDetection counts; the image is at the left
            and the top, and a larger one is an InvalidRequest.
        fill_value: one number, or one for each channel, with `size`.
    """
    if (padding is None) == (size is None):
        raise PreprocessError("Pad takes padding (PaddleClas) or size (PaddleDetection)")
    if size is not None:
        height, width = pair(size, "Pad: size")
        return padv2([width, height], fill_value=fill_value)
    if padding_mode != "constant":
        raise PreprocessError("Pad: padding_mode is constant, not {!r}".format(padding_mode))
    border = whole(padding, "Pad: padding", 0)
    colour = levels(fill, "Pad: fill")

    def step(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        target = (width + 2 * border, height + 2 * border)
        return on_ground(image, target, (border, border), colour)

    return step


def pad_stride(stride: int = 0) -> Step:
    """Zeros below and right of planes [C, H, W], to a multiple of `stride`; PaddleDetection's.

    A stride of 0 or less leaves an image as it is.
    """
    multiple = whole(stride, "PadStride: stride", -MAX_RESIZED_PIXELS)
    if multiple <= 0:
        return lambda planes: planes

    def step(planes: np.ndarray) -> np.ndarray:
        image = planes.transpose(1, 2, 0).astype(np.float32, copy=False)
        padded = on_ground(image, _multiple(image, multiple), (0, 0), [0.0])
        return np.asarray(padded.transpose(2, 0, 1))

    return step


def on_ground(image: np.ndarray, size: Size, offset: Size, fill: List[float]) -> np.ndarray:
    """Return `image` [H, W, C] on a ground of `size` (width, height), its corner at `offset`.

    Args:
        image: of any type; the ground is of the same one.
        size: as large as the image or larger.
        offset: x and y of the image.
        fill: one number, or one for each channel.

    Raises:
        TooLarge: the ground would exhaust memory.
        PreprocessError: `fill` has not the channels of the image, or its 8-bit pixels cannot be it.
    """
    height, width, channels = image.shape
    if len(fill) not in (1, channels):
        raise PreprocessError(
            "the pixels around an image have {} channels and the image has {}; give one number, or"
            " {}".format(len(fill), channels, channels)
        )
    if image.dtype == np.uint8 and not all(0 <= v <= 255 and v == int(v) for v in fill):
        raise PreprocessError(
            "8-bit pixels are padded with whole numbers from 0 to 255, not {}; pad with another "
            "number after NormalizeImage".format(fill if len(fill) > 1 else fill[0])
        )
    check_pixels(size, "padded")
    ground = np.empty((size[1], size[0], channels), image.dtype)
    ground[:] = np.asarray(fill).astype(image.dtype)
    left, top = offset
    ground[top : top + height, left : left + width] = image
    return ground


def _offset(image: np.ndarray, size: Size, pad_mode: int, name: str) -> Size:
    height, width = image.shape[:2]
    if width > size[0] or height > size[1]:
        raise InvalidRequest(
            "the image has {} x {} pixels and the model takes at most {} x {} ({}); send a "
            "smaller one".format(width, height, *size, name)
        )
    free = size[0] - width, size[1] - height
    # nothing of it, the smaller half or all of it lies before the image
    shares = ((0, 0), (free[0] // 2, free[1] // 2), free)
    return shares[pad_mode]


def _multiple(image: np.ndarray, divisor: int) -> Size:
    height, width = image.shape[:2]
    return math.ceil(width / divisor) * divisor, math.ceil(height / divisor) * divisor


def _place(offsets: Any) -> Size:  # noqa: ANN401 - YAML
    if not isinstance(offsets, (list, tuple)) or len(offsets) != 2:
        raise PreprocessError("Padv2: offsets is [x, y] with pad_mode -1, not {!r}".format(offsets))
    return whole(offsets[0], "Padv2: offsets", 0), whole(offsets[1], "Padv2: offsets", 0)


def _check_place(image: np.ndarray, size: Size, offset: Size) -> None:
    height, width = image.shape[:2]
    if offset[0] + width > size[0] or offset[1] + height > size[1]:
        raise InvalidRequest(
            "the image has {} x {} pixels and the model takes at most {} x {} of it; send a "
            "smaller one".format(
                width, height, max(0, size[0] - offset[0]), max(0, size[1] - offset[1])
            )
        )
