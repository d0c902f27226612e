"""Encoded picture -> uint8 RGB array, or an error that says what is wrong with it.

The pixels are those of OpenCV's IMREAD_COLOR, which PaddleClas and the sample services of Paddle
Serving use: EXIF orientation applied, grey spread to three channels, alpha dropped, 16 bits cut to
8, CMYK converted. The size is checked from the header before a pixel is decoded.
"""

from __future__ import annotations

from typing import NamedTuple, Optional

import cv2
import numpy as np

from protocol.errors import TooLarge, UndecodableImage

from . import png_chunks
from .exif import check_webp_exif
from .image_header import READABLE, ImageHeader, foreign_name, is_complete, read_format, read_header
from .jpeg_scans import check_scans
from .tiff_pieces import check_pieces

DEFAULT_MAX_PIXELS = 50_000_000

# Damaged files make OpenCV talk on stderr, once a request; our error says it already.
if hasattr(cv2.utils, "logging"):
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
else:  # before OpenCV 4.10
    getattr(cv2, "setLogLevel")(0)  # noqa: B009 - the stubs of newer ones do not know it

_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class DecodeLimits(NamedTuple):
    """`max_pixels` is width x height; `reduce_to` asks for fast decoding.

    With `reduce_to`, a JPEG whose short side stays at least twice that many pixels is decoded at a
    half, a quarter or an eighth of its size: several times faster on phone photos, and the scores
    differ a little from full decoding (docs/preprocessing.md has the figures).
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    reduce_to: Optional[int] = None


def decode_image(data: bytes, limits: DecodeLimits = DecodeLimits()) -> np.ndarray:  # noqa: B008
    """Return the picture as uint8 [height, width, 3], RGB.

    Raises:
        UndecodableImage: no picture, of a format that is not read, damaged or cut off.
        TooLarge: more than `limits.max_pixels`.
    """
    header = _checked_header(data, limits)
    flag = cv2.IMREAD_COLOR
    if limits.reduce_to and header.format == "JPEG":
        flag = _REDUCED.get(_reduction(header, limits.reduce_to), flag)
    try:
        image = cv2.imdecode(np.frombuffer(_affordable(data, header), np.uint8), flag)
    except cv2.error as error:
        raise UndecodableImage("the {} cannot be decoded".format(header.format)) from error
    if image is None:
        raise UndecodableImage(
            "the {} is damaged or of a kind that is not read; save it again as an ordinary JPEG "
            "or PNG".format(header.format)
        )
    # In place: the array is ours, and a channel swap needs no second copy.
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image)


def _checked_header(data: bytes, limits: DecodeLimits) -> ImageHeader:
    if not data:
        raise UndecodableImage("the picture is empty (0 bytes); send the bytes of the file")
    name = read_format(data)
    if name is None:
        raise UndecodableImage(
            "this looks like {}; send a picture as {}".format(
                foreign_name(data), ", ".join(READABLE)
            )
        )
    header = read_header(data)
    if header is None:
        raise UndecodableImage("the {} is damaged or cut off in its header".format(name))
    if header.width * header.height > limits.max_pixels:
        raise TooLarge(
            "the picture has {} x {} pixels; at most {:,} are decoded".format(
                header.width, header.height, limits.max_pixels
            )
        )
    if not is_complete(data, name):
        raise UndecodableImage("the {} is cut off; send the whole file".format(name))
    return header


def _affordable(data: bytes, header: ImageHeader) -> bytes:
    """Return what OpenCV is given: nothing that costs it more than the pixels are worth.

    The limit of pixels is not enough: a few megabytes of other things take minutes and gigabytes.
    """
    if header.format == "PNG":
        return png_chunks.without_extras(data)
    if header.format == "JPEG":
        check_scans(data, header.width * header.height)
    elif header.format == "WebP":
        check_webp_exif(data)
    elif header.format == "TIFF":
        check_pieces(data, header.width, header.height)
    return data


def _reduction(header: ImageHeader, reduce_to: int) -> int:
    """Return by what the short side can be divided and stay at least twice `reduce_to`."""
    short_side = min(header.width, header.height)
    fitting = [scale for scale in (8, 4, 2) if short_side // scale >= 2 * reduce_to]
    return fitting[0] if fitting else 1
