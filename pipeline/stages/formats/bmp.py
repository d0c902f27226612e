"""BMP: the size is read from its BITMAPCOREHEADER or BITMAPINFOHEADER."""

from __future__ import annotations

import struct
from typing import Optional, Tuple

NAME = "BMP"
_MAX_HEADER = 1024

# Work in megapixels of a plain photo (pipeline/stages/work.py): of one million pixels, and bytes.
_PER_PIXEL, _PER_BYTE = 0.4, 0.8


def matches(data: bytes) -> bool:
    """Return whether the data begins as a BMP does.

    A text may begin with BM too; the size of the header that follows distinguishes them.
    """
    return data[:2] == b"BM" and int.from_bytes(data[14:18], "little") <= _MAX_HEADER


def size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height."""
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: the rows are stored from the top


def complete(_data: bytes) -> bool:
    """Return True: a BMP has no end mark; OpenCV refuses one whose rows are missing."""
    return True


def guard(data: bytes, _width: int, _height: int) -> bytes:
    """Return the data as it is: a BMP holds nothing but its pixels."""
    return data


def work(data: bytes, width: int, height: int) -> float:
    """Return the work of decoding: pixels, and codes of run lengths, which may be of no length."""
    compressed = data[14] > 12 and data[30] != 0
    return 1e-6 * (_PER_PIXEL * width * height + (_PER_BYTE * len(data) if compressed else 0.0))
