"""The centre of an image: of a size, or of a share of the short side."""

from __future__ import annotations

from typing import Any, List, Optional

import numpy as np

from protocol.errors import InvalidRequest

from ..errors import PreprocessError
from .number import whole
from .padding import on_ground
from .resampling import MAX_RESIZED_PIXELS, resampler
from .step import Step, pair


def crop_image(
    size: Any,  # noqa: ANN401 - YAML
    rounding: str = "floor",
    fill: Any = None,  # noqa: ANN401 - YAML
) -> Step:
    """Crop the centre, as PaddleClas does; a smaller image is an InvalidRequest.

    Args:
        size: one number, or [width, height].
        rounding: of half a pixel at the left and the top. `floor` rounds down, as PaddleClas does;
            `even` rounds to the even number, as torchvision does.
        fill: a grey level, or one a channel; a smaller image is centred on it.
    """
    width, height = pair(size, "CropImage: size")
    if rounding not in _OFFSETS:
        raise PreprocessError(
            "CropImage: rounding is {}, not {!r}".format(" or ".join(_OFFSETS), rounding)
        )
    offset = _OFFSETS[rounding]
    border = None if fill is None else _levels(fill)
    if width * height > MAX_RESIZED_PIXELS:
        raise PreprocessError(
            "CropImage: size is {} x {} pixels; at most {:,} are prepared".format(
                width, height, MAX_RESIZED_PIXELS
            )
        )

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        smaller = have_h < height or have_w < width
        if smaller and border is None:
            raise InvalidRequest(
                "the image has {} x {} pixels and the model needs {} x {}; "
                "send a larger one".format(have_w, have_h, width, height)
            )
        left, top = offset(have_w, width), offset(have_h, height)
        x, y = max(0, left), max(0, top)
        image = image[y : y + height, x : x + width]
        if not smaller or border is None:
            return image
        # Cropped before it is padded: a long and thin image must not become a long and wide one.
        return on_ground(image, (width, height), (max(0, -left), max(0, -top)), border)

    return step


def crop_image_at_ratio(size: int, pad: int, interpolation: str = "bilinear") -> Step:
    """Crop the largest centred square, less a margin, and resize it; as PaddleClas does.

    Args:
        size: the side of the result.
        pad: the margin, in pixels of a square of size + pad.
        interpolation: nearest, bilinear, area, bicubic or lanczos.
    """
    side = whole(size, "CropImageAtRatio: size")
    ratio = side / (side + whole(pad, "CropImageAtRatio: pad", 0))
    resample = resampler(interpolation, "cv2")

    def step(image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        # Of one pixel at least: PaddleClas fails with an image of one pixel.
        crop = max(1, int(ratio * min(height, width)))
        left, top = (width - crop) // 2, (height - crop) // 2
        return resample(image, (side, side), (left, top, left + crop, top + crop))

    return step


def _floor(have: int, wanted: int) -> int:
    """Where the crop begins; below zero, how far before the image."""
    return (have - wanted) // 2


def _even(have: int, wanted: int) -> int:
    """The same in torchvision: before a smaller image it leaves the smaller half."""
    return int(round((have - wanted) / 2.0)) if have >= wanted else -((wanted - have) // 2)


_OFFSETS = {"floor": _floor, "even": _even}


def _levels(fill: Any) -> List[float]:  # noqa: ANN401 - YAML
    values: Optional[List[Any]] = [fill] if isinstance(fill, (int, float)) else None
    if isinstance(fill, (list, tuple)) and len(fill) > 0:
        values = list(fill)
    if values is None or not all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 255
        for value in values
    ):
        raise PreprocessError(
            "CropImage: fill is a grey level from 0 to 255, or one a channel, not {!r}".format(fill)
        )
    return values
