"""How many bytes the pixel data of a PNG inflates to.

libpng inflates what follows the pixels too, to find the end: an 8 x 8 image with 1 MB of IDAT took
2.1 s, and each further megabyte as much. Where it begins is known only after inflating. So the
pixels are inflated here, no further than their rows go, and OpenCV gets them in stored blocks: that
adds a fifth to a third to the time of decoding, and inflating twice would add two thirds. Small
images are left alone: what may follow their pixels takes a quarter of a second at most.
"""

from __future__ import annotations

import struct
import zlib
from typing import List, Optional, Tuple

from protocol.errors import UndecodableImage

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row, and steps, of each pass of an interlaced image (PNG specification, 8.2).
_PASSES = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_DEFLATE_AT_MOST = 1032
_AFFORDABLE = 2**27
# More than 20 megapixels in colour are inflated twice instead of being copied in memory.
_IN_MEMORY = 2**26
# Some writers add rows.
_SLACK = 2**20
_STEP = 2**18
_IDAT = zlib.crc32(b"IDAT")


def without_rest(data: bytes, idat: List[Tuple[int, int]]) -> Optional[bytes]:
    """Return the pixel data, at the (start, end) of `idat`, without what follows the pixels.

    None if `data` may be decoded as it is.

    Raises:
        UndecodableImage: it is a large PNG, and the rest is far longer than its pixels.
    """
    expected = pixel_bytes(data)
    compressed = sum(end - start for start, end in idat)
    if compressed * _DEFLATE_AT_MOST <= expected + _AFFORDABLE:
        return None
    try:
        if expected > _IN_MEMORY:
            _check_rest(data, idat, 2 * expected + _SLACK)
            return None
        rows = _inflated(data, idat, expected)
    except zlib.error:
        return None  # OpenCV finds it too, and stops there
    return zlib.compress(rows, 0) if len(rows) == expected else None


def _inflated(data: bytes, idat: List[Tuple[int, int]], expected: int) -> bytes:
    """Return at most `expected` bytes.

    Raises:
        UndecodableImage: a checksum is wrong. OpenCV would find it behind the rest only.
        zlib.error: the data is damaged otherwise.
    """
    pieces = []
    for start, end in idat:
        piece = data[start:end]
        if zlib.crc32(piece, _IDAT) != int.from_bytes(data[end : end + 4], "big"):
            raise UndecodableImage("the PNG is damaged: a checksum of its pixels is wrong")
        pieces.append(piece)
    inflating = zlib.decompressobj()
    rows = inflating.decompress(b"".join(pieces), expected)
    inflating.decompress(inflating.unconsumed_tail, 1)  # checks the sum of all, if they are all
    return rows


def _check_rest(data: bytes, idat: List[Tuple[int, int]], limit: int) -> None:
    inflating = zlib.decompressobj()
    inflated = 0
    for start, end in idat:
        rest = data[start:end]
        while rest and not inflating.eof:
            inflated += len(inflating.decompress(rest, _STEP))
            rest = inflating.unconsumed_tail
            if inflated > limit:
                raise UndecodableImage(
                    "the PNG goes on far behind its pixels; save it again as an ordinary one"
                )


def pixel_bytes(data: bytes) -> int:
    """Return how many bytes the rows of a PNG have, with their filter bytes."""
    width, height, depth, colours = struct.unpack_from(">IIBB", data, 16)
    bits = int(depth) * _CHANNELS.get(colours, 4)
    if not data[28]:
        return int(height * (1 + (width * bits + 7) // 8))
    total = 0
    for left, top, across, down in _PASSES:
        columns = (width - left + across - 1) // across
        rows = (height - top + down - 1) // down
        if columns > 0 and rows > 0:
            total += int(rows * (1 + (columns * bits + 7) // 8))
    return total
