"""The image formats that are read: one module for each, and the table of them.

A new format is one module with the members of `ImageFormat`, and one entry in `FORMATS`.
"""

from __future__ import annotations

from typing import Optional, Protocol, Tuple

from . import bmp, jpeg, png, tiff, webp


class ImageFormat(Protocol):
    """What a module of this package has. None of its functions decodes a pixel.

    `data` is the whole file. For one image `size`, `complete` and `guard` are called in this order,
    each only if the one before found nothing wrong.
    """

    NAME: str

    def matches(self, data: bytes, /) -> bool:
        """Return whether the first bytes announce this format."""

    def size(self, data: bytes, /) -> Optional[Tuple[int, int]]:
        """Return the stored width and height in pixels, or None if the header has none.

        Raises:
            struct.error, IndexError: the header is cut off.
        """

    def complete(self, data: bytes, /) -> bool:
        """Return whether the data reaches the end mark of the format; True if it has none."""

    def guard(self, data: bytes, width: int, height: int, /) -> bytes:
        """Return what OpenCV may be given: `data`, without parts that cost far more than pixels.

        The limit of pixels is not enough: a few megabytes of other parts cost minutes and
        gigabytes.

        Raises:
            UndecodableImage: there is such a part, and it cannot be left out.
        """

    def work(self, data: bytes, width: int, height: int, /) -> float:
        """Return the work of decoding, in the unit of `pipeline/stages/work.py`.

        It reads the header only, or costs far less than a hundredth of decoding.

        Raises:
            struct.error, IndexError, UndecodableImage: the header is cut off or damaged.
        """


FORMATS: Tuple[ImageFormat, ...] = (jpeg, png, bmp, webp, tiff)


def format_of(data: bytes) -> Optional[ImageFormat]:
    """Return the format that the first bytes announce, or None if it is none of `FORMATS`."""
    return next((known for known in FORMATS if known.matches(data)), None)
