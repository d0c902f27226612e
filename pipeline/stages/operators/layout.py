"""Order of channels, type of elements, pixels or planes."""

from __future__ import annotations

import numpy as np

from ..errors import PreprocessError
from .step import Step


def decode_image(
    to_rgb: bool = True,
    channel_first: bool = False,
    to_np: bool = False,  # noqa: ARG001 - written by PaddleClas; arrays are all we have
    backend: str = "cv2",  # noqa: ARG001 - images are decoded as cv2 does, before any operator
) -> Step:
    """Images come decoded as RGB; a model that wants BGR gets its channels turned."""
    if channel_first:
        raise PreprocessError("DecodeImage: channel_first is not known; use ToCHWImage")
    if not isinstance(to_rgb, bool):
        raise PreprocessError("DecodeImage: to_rgb is true or false, not {!r}".format(to_rgb))
    return (lambda image: image) if to_rgb else (lambda image: image[:, :, ::-1])


def to_float32() -> Step:
    """Make pixels floats before they are resized, as PaddleX 1.x does; PaddleClas has no such."""
    return lambda image: image.astype(np.float32)


def to_chw_image() -> Step:
    """Turn pixels [H, W, C] into planes [C, H, W]."""
    return lambda image: image.transpose(2, 0, 1)
