"""The chunks of a PNG that its pixels depend on, and the PNG without the others.

libpng inflates texts and colour profiles that nobody asked for, 8 MB for each few kilobytes and as
many as there are, and prints the name of a profile as it is: 7 MB of zTXt took 39 s and 6.8 GB.
By experiment none of gAMA, cHRM, sRGB, iCCP, sBIT, bKGD, hIST, pHYs, tIME, texts and the frames of
an animation changes a pixel of OpenCV's IMREAD_COLOR; test_png_chunks.py keeps it so. The animation
of a grey PNG corrupts the heap of OpenCV 5.0, and that of one whose picture is not its first frame
would be read instead of the picture, by some versions.
"""

from __future__ import annotations

import struct
from typing import Iterator, Set, Tuple

from protocol.errors import UndecodableImage

from .exif import check_exif_size
from .png_inflation import check_inflation

# Of the ancillary ones: transparency, and the orientation.
_KEPT = (b"tRNS", b"eXIf")
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_IS_ANCILLARY = 0x20
_MAX_CHUNKS = 100_000
_SIGNATURE = 8


def ends(data: bytes) -> bool:
    """Return whether the chunks lead to the end mark.

    Each must lie within the data, the end mark too: OpenCV allocates and fills what a chunk
    declares, up to 4 GiB and 7 s for 82 bytes.
    """
    return any(kind == b"IEND" and end <= len(data) for kind, _, end in _chunks(data))


def without_extras(data: bytes) -> bytes:
    """Return the PNG with what its pixels depend on: the same bytes where that is all there is.

    Raises:
        UndecodableImage: its EXIF data is beyond what any camera writes, its pixel data beyond its
            pixels, or it needs a decoder for chunks that are not the standard's.
    """
    pieces = []
    pixels = []
    seen: Set[bytes] = set()
    start = 0  # of the bytes that are kept and not yet in `pieces`
    for kind, begin, end in _chunks(data):
        if kind == b"IDAT":  # nearly all of them
            pixels.append((begin + 8, end - 4))
            continue
        if not kind[0] & _IS_ANCILLARY and kind not in _CRITICAL:
            # libpng refuses it too, and prints the four bytes, which are the sender's.
            raise UndecodableImage(
                "the PNG has chunks that only some programs know; save it again as an ordinary one"
            )
        wanted = not kind[0] & _IS_ANCILLARY or kind in _KEPT
        if wanted and kind not in seen:
            if kind == b"eXIf":
                check_exif_size(end - begin - 12)
            seen.add(kind)
            continue
        pieces.append(data[start:begin])
        start = end
    check_inflation(data, pixels)
    if not pieces:
        return data
    pieces.append(data[start:])
    return b"".join(pieces)


def _chunks(data: bytes) -> Iterator[Tuple[bytes, int, int]]:
    """Yield each chunk's kind with where it begins and ends, up to and with the end mark."""
    position = _SIGNATURE
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length  # length, kind and checksum are not counted in it
        yield kind, position, end
        if kind == b"IEND":
            return
        position = end
