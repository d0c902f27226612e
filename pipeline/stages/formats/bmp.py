"""BMP: the size is read from its BITMAPCOREHEADER or BITMAPINFOHEADER."""

from __future__ import annotations

import struct
from typing import Optional, Tuple

NAME = "BMP"
_MAX_HEADER = 1024


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
