"""How many bytes the pixel data of a PNG inflates to.

libpng inflates what follows the pixels too, to find the end: an 8 x 8 image with 1 MB of IDAT took
2.1 s, and each further megabyte as much. The size is known only after inflating, which costs half
as much as decoding. So it is done only where the rest could take more than four seconds, from about
2 MB of compressed pixels on.
"""

from __future__ import annotations

import struct
import zlib
from typing import List, Tuple

from protocol.errors import UndecodableImage

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEFLATE_AT_MOST = 1032
_AFFORDABLE = 2**31
_OVERHEAD = 2**16
# Interlacing adds to the rows, and some writers add rows.
_SLACK = 2**26
_STEP = 2**18


def check_inflation(data: bytes, idat: List[Tuple[int, int]]) -> None:
    """Refuse a PNG whose pixel data, at the (start, end) of `idat`, is far longer than its pixels.

    Raises:
        UndecodableImage: it is.
    """
    expected = pixel_bytes(data)
    limit = 2 * expected + _SLACK
    compressed = sum(end - start for start, end in idat)
    # Compressed data larger than the pixels is soon inflated, or is no more than they are.
    plausible = compressed <= expected + expected // 4 + _OVERHEAD
    if plausible and compressed * _DEFLATE_AT_MOST <= limit + _AFFORDABLE:
        return
    inflating = zlib.decompressobj()
    inflated = 0
    try:
        for start, end in idat:
            rest = data[start:end]
            while rest and not inflating.eof:
                inflated += len(inflating.decompress(rest, _STEP))
                rest = inflating.unconsumed_tail
                if inflated > limit:
                    raise UndecodableImage(
                        "the PNG goes on far behind its pixels; save it again as an ordinary one"
                    )
    except zlib.error:
        return  # OpenCV finds it too, and stops there


def pixel_bytes(data: bytes) -> int:
    """Return how many bytes the rows of a PNG have, with their filter bytes."""
    width, height, depth, colours = struct.unpack_from(">IIBB", data, 16)
    row_bits = int(width) * int(depth) * _CHANNELS.get(colours, 4)
    return int(height) * (1 + (row_bits + 7) // 8)
