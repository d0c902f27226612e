"""Encoded image -> uint8 RGB array, or an error that says what is wrong with it.

    first bytes -> format -> size in pixels -> end mark -> guard -> OpenCV -> RGB

The pixels are those of OpenCV's IMREAD_COLOR, which PaddleClas and the sample services of Paddle
Serving use: EXIF orientation applied, grey spread to three channels, alpha dropped, 16 bits cut to
8, CMYK converted. The size is checked from the header before a pixel is decoded.
"""

from __future__ import annotations

import struct
from typing import NamedTuple, Optional, Tuple

import cv2
import numpy as np

from protocol.errors import TooLarge, UndecodableImage

from .formats import jpeg
from .formats.foreign import foreign_name
from .formats.image_format import FORMATS, ImageFormat, format_of

DEFAULT_MAX_PIXELS = 50_000_000
# Of JPEG; a WebP is shorter. Pillow's filters take memory by the length of a side: 1 x 50,000,000
# pixels, a file of 200 KB, took more than 2 GB.
MAX_SIDE = 65_535

# OpenCV writes a line on stderr for every damaged file; our error has the reason already.
if hasattr(cv2.utils, "logging"):
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
else:  # before OpenCV 4.10
    getattr(cv2, "setLogLevel")(0)  # noqa: B009 - the stubs of newer versions do not have it

# At once, so that they stay in the cache.
_SWAPPED_PIXELS = 2**18
_REDUCED = {
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


class DecodeLimits(NamedTuple):
    """`max_pixels` is width x height; `reduce_to` turns on fast decoding.

    With `reduce_to`, a JPEG whose short side stays at least twice that many pixels is decoded at a
    half, a quarter or an eighth of its size: several times faster on phone photos, and the scores
    differ a little from full decoding (docs/preprocessing.md has the figures).
    """

    max_pixels: int = DEFAULT_MAX_PIXELS
    reduce_to: Optional[int] = None


def decode_image(data: bytes, limits: DecodeLimits = DecodeLimits()) -> np.ndarray:  # noqa: B008
    """Return the image as uint8 [height, width, 3], RGB.

    Raises:
        UndecodableImage: no image, of a format that is not read, damaged or cut off.
        TooLarge: more than `limits.max_pixels`, or a side of more than MAX_SIDE.
    """
    image_format, (width, height), affordable = admitted(data, limits.max_pixels)
    flag = cv2.IMREAD_COLOR
    if limits.reduce_to and image_format.NAME == jpeg.NAME:
        flag = _REDUCED.get(_reduction(min(width, height), limits.reduce_to), flag)
    try:
        pixels = cv2.imdecode(np.frombuffer(affordable, np.uint8), flag)
    except cv2.error as error:
        raise UndecodableImage("the {} cannot be decoded".format(image_format.NAME)) from error
    if pixels is None:
        raise UndecodableImage(
            "the {} is damaged or of a kind that is not read; save it again as an ordinary JPEG "
            "or PNG".format(image_format.NAME)
        )
    return _turned_to_rgb(pixels)


def _turned_to_rgb(pixels: np.ndarray) -> np.ndarray:
    """Swap the channels in place, in parts: OpenCV copies what it is given before it does."""
    rows = max(1, _SWAPPED_PIXELS // pixels.shape[1])
    for top in range(0, len(pixels), rows):
        part = pixels[top : top + rows]
        cv2.cvtColor(part, cv2.COLOR_BGR2RGB, dst=part)
    return pixels


def admitted(data: bytes, max_pixels: int) -> Tuple[ImageFormat, Tuple[int, int], bytes]:
    """Return the format, the stored width and height, and what OpenCV may be given to decode.

    Raises:
        UndecodableImage, TooLarge: as `decode_image`, without decoding a pixel.
    """
    image_format = _checked_format(data)
    width, height = _checked_size(image_format, data, max_pixels)
    if not image_format.complete(data):
        raise UndecodableImage("the {} is cut off; send the whole file".format(image_format.NAME))
    return image_format, (width, height), image_format.guard(data, width, height)


def _checked_format(data: bytes) -> ImageFormat:
    if not data:
        raise UndecodableImage("the image is empty (0 bytes); send the bytes of the file")
    image_format = format_of(data)
    if image_format is None:
        raise UndecodableImage(
            "this looks like {}; send an image as {}".format(
                foreign_name(data), ", ".join(known.NAME for known in FORMATS)
            )
        )
    return image_format


def _checked_size(image_format: ImageFormat, data: bytes, max_pixels: int) -> Tuple[int, int]:
    try:
        size = image_format.size(data)
    except (struct.error, IndexError):
        size = None
    if size is None or min(size) <= 0:
        raise UndecodableImage(
            "the {} is damaged or cut off in its header".format(image_format.NAME)
        )
    width, height = size
    if width * height > max_pixels:
        raise TooLarge(
            "the image has {} x {} pixels; at most {:,} are decoded".format(
                width, height, max_pixels
            )
        )
    if max(size) > MAX_SIDE:
        raise TooLarge(
            "the image has {} x {} pixels; a side of at most {:,} is read".format(
                width, height, MAX_SIDE
            )
        )
    return width, height


def _reduction(short_side: int, reduce_to: int) -> int:
    """Return the largest divisor that leaves the short side at least twice `reduce_to`."""
    fitting = [scale for scale in (8, 4, 2) if short_side // scale >= 2 * reduce_to]
    return fitting[0] if fitting else 1
