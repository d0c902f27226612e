"""PNG: its size, its end mark, and the file with the chunks that its pixels depend on.

libpng inflates texts and colour profiles that are never used, 8 MB for each few kilobytes and as
many as there are, and prints the name of a profile: 7 MB of zTXt took 39 s and 6.8 GB. By
experiment none of gAMA, cHRM, sRGB, iCCP, sBIT, bKGD, hIST, pHYs, tIME, texts and the frames of an
animation changes a pixel of OpenCV's IMREAD_COLOR; test_png.py checks it. The animation of a grey
PNG corrupts the heap of OpenCV 5.0. Where the image is not the first frame of its animation, some
versions would read the frame in its place.
"""

from __future__ import annotations

import struct
import zlib
from typing import Iterator, Optional, Set, Tuple

from protocol.errors import UndecodableImage

from .exif import check_exif_size, without_mark
from .png_inflation import pixel_bytes, without_rest

NAME = "PNG"

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_IS_ANCILLARY = 0x20
# Of the ancillary chunks: transparency, and the orientation.
_KEPT = (b"tRNS", b"eXIf")
# Writers cut pixels into chunks of 4 KiB and more; each chunk takes 3 microseconds.
_MAX_CHUNKS = 20_000

# Work in megapixels of a plain photo (pipeline/stages/work.py): of one million pixels, of as many
# bytes that they are inflated to, and of as many bytes of the file.
_PER_PIXEL, _PER_INFLATED, _PER_BYTE = 0.5, 0.7, 2.1
_INTERLACED = 1.3


def matches(data: bytes) -> bool:
    """Return whether the data begins as a PNG does."""
    return data[:8] == _SIGNATURE


def size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height, from IHDR."""
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def complete(data: bytes) -> bool:
    """Return whether the chunks lead to the end mark.

    Each must lie within the data, and the end mark too: OpenCV allocates and fills what a chunk
    declares, up to 4 GiB and 7 s for 82 bytes.
    """
    return any(kind == b"IEND" and end <= len(data) for kind, _, end in _chunks(data))


def guard(data: bytes, _width: int, _height: int) -> bytes:
    """Return the PNG with the chunks that its pixels depend on; `data` itself if it has no others.

    Raises:
        UndecodableImage: its EXIF data is larger than any camera writes, its pixel data is far
            longer than its pixels, or it has critical chunks that are not the standard's.
    """
    rows = without_rest(data, list(_pixel_data(data)))
    pieces = []
    seen: Set[bytes] = set()
    start = 0  # of the bytes that are kept and not yet in `pieces`
    for kind, begin, end in _chunks(data):
        chunk = b""
        if kind == b"IDAT":  # nearly all of them
            if rows is None:
                continue
            chunk = b"" if kind in seen else _chunk(kind, rows)
            seen.add(kind)
        elif kind in _CRITICAL + _KEPT and kind not in seen:
            seen.add(kind)
            chunk = _as_read(kind, data[begin:end])
            if len(chunk) == end - begin:
                continue
        pieces += [data[start:begin], chunk]
        start = end
    if not pieces:
        return data
    pieces.append(data[start:])
    return b"".join(pieces)


def _pixel_data(data: bytes) -> Iterator[Tuple[int, int]]:
    """Yield the start and the end of the content of each IDAT.

    Raises:
        UndecodableImage: there is a critical chunk that is not the standard's.
    """
    for kind, begin, end in _chunks(data):
        if kind == b"IDAT":
            yield begin + 8, end - 4
        elif kind not in _CRITICAL and not kind[0] & _IS_ANCILLARY:
            # libpng refuses it too, and prints the four bytes, which the sender chose.
            raise UndecodableImage(
                "the PNG has chunks that only some programs know; save it again as an ordinary one"
            )


def work(data: bytes, width: int, height: int) -> float:
    """Return the work of decoding: pixels, what they are inflated to, and their bytes."""
    inflated = pixel_bytes(data)
    total = _PER_PIXEL * width * height + _PER_INFLATED * inflated
    total += _PER_BYTE * min(len(data), inflated)
    return 1e-6 * total * (_INTERLACED if data[28] else 1.0)


def _as_read(kind: bytes, chunk: bytes) -> bytes:
    """Return the chunk, if it is EXIF data without the mark that libpng refuses."""
    if kind != b"eXIf":
        return chunk
    check_exif_size(len(chunk) - 12)
    exif = without_mark(chunk[8:-4])
    if len(exif) == len(chunk) - 12:
        return chunk
    return _chunk(kind, exif)


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return b"".join((struct.pack(">I4s", len(content), kind), content, struct.pack(">I", checksum)))


def _chunks(data: bytes) -> Iterator[Tuple[bytes, int, int]]:
    """Yield the kind, the start and the end of each chunk, up to and with the end mark.

    Raises:
        UndecodableImage: there are far too many.
    """
    position = len(_SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, position)
        end = position + 12 + length  # length, kind and checksum are not counted in it
        yield kind, position, end
        if kind == b"IEND":
            return
        position = end
    raise UndecodableImage(
        "the PNG has more than {:,} chunks; save it again as an ordinary one".format(_MAX_CHUNKS)
    )
