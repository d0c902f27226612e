"""WebP (its container specification: VP8, VP8L and VP8X chunks in a RIFF file)."""

from __future__ import annotations

import struct
from typing import Optional, Tuple

from protocol.errors import UndecodableImage

from .exif import check_exif_size

NAME = "WebP"
# An animation has one chunk for each of its frames.
_MAX_CHUNKS = 10_000
_FIRST_CHUNK = 12


def matches(data: bytes) -> bool:
    """Return whether the data begins as a WebP does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height, of the canvas for an animation."""
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return (width, height) if len(data) >= 30 else None
    return None


def complete(data: bytes) -> bool:
    """Return whether the data has the length that it declares."""
    return len(data) >= 8 + int(struct.unpack_from("<I", data, 4)[0])


def guard(data: bytes, _width: int, _height: int) -> bytes:
    """Check each piece of EXIF data.

    Raises:
        UndecodableImage: one is too large, or there are far too many chunks.
    """
    position = _FIRST_CHUNK
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return data
        kind, length = struct.unpack_from("<4sI", data, position)
        if kind == b"EXIF":
            check_exif_size(int(length))
        position += 8 + length + length % 2
    raise UndecodableImage(
        "the WebP has more than {:,} chunks; save it again as an ordinary one".format(_MAX_CHUNKS)
    )
