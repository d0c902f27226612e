"""WebP (its container specification: VP8, VP8L and VP8X chunks in a RIFF file)."""

from __future__ import annotations

import struct
from itertools import islice
from typing import Iterator, List, Optional, Tuple

from protocol.errors import UndecodableImage

from .exif import check_exif_size, without_mark

NAME = "WebP"
# An animation has one chunk for each of its frames.
_MAX_CHUNKS = 10_000
_FIRST_CHUNK = 12

# Work in megapixels of a plain photo (pipeline/stages/work.py): of one million pixels, and bytes.
_PER_PIXEL, _PER_BYTE, _PER_LOSSLESS_BYTE = 0.9, 12.0, 1.7
_FEW_CHUNKS = 100


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
    """Check each piece of EXIF data; return the WebP with them as OpenCV reads them.

    Raises:
        UndecodableImage: one is too large, or there are far too many chunks.
    """
    pieces: List[bytes] = []
    copied = 0  # of the data, into `pieces`
    for kind, start, end in _chunks(data):
        if kind != b"EXIF":
            continue
        check_exif_size(end - start)
        exif = without_mark(data[start:end])
        if len(exif) != end - start and end <= len(data):
            pieces += [data[copied : start - 4], struct.pack("<I", len(exif)), exif]
            pieces.append(bytes(len(exif) % 2))
            copied = end + (end - start) % 2
    if not pieces:
        return data
    pieces.append(data[copied:])
    body = b"".join(pieces)
    (declared,) = struct.unpack_from("<I", data, 4)
    return b"RIFF" + struct.pack("<I", declared + len(body) - len(data)) + body[8:]


def work(data: bytes, width: int, height: int) -> float:
    """Return the work of decoding: pixels, and bytes, which count less without loss.

    Of an animation OpenCV decodes the first frame.
    """
    total = _PER_PIXEL * width * height
    for kind, start, end in islice(_chunks(data), _FEW_CHUNKS):
        if kind == b"ANMF":  # its frame follows 16 bytes
            lossless = data[start + 16 : start + 20] == b"VP8L"
        else:
            lossless = kind in (b"VP8L", b"ALPH")
        if kind in (b"ANMF", b"VP8 ", b"VP8L", b"ALPH"):
            per_byte = _PER_LOSSLESS_BYTE if lossless else _PER_BYTE
            total += per_byte * (min(end, len(data)) - start)
        if kind == b"ALPH":
            total += _PER_PIXEL * width * height
        if kind in (b"ANMF", b"VP8 ", b"VP8L"):
            break
    return 1e-6 * total


def _chunks(data: bytes) -> Iterator[Tuple[bytes, int, int]]:
    """Yield the kind of each chunk, and the start and the end of its content.

    Raises:
        UndecodableImage: there are far too many.
    """
    position = _FIRST_CHUNK
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        kind, length = struct.unpack_from("<4sI", data, position)
        yield kind, position + 8, position + 8 + length
        position += 8 + length + length % 2
    raise UndecodableImage(
        "the WebP has more than {:,} chunks; save it again as an ordinary one".format(_MAX_CHUNKS)
    )
