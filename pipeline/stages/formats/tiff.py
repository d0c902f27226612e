"""TIFF 6.0 and BigTIFF: the first page alone is read, as OpenCV reads it.

A BigTIFF is a TIFF whose offsets and counts have 64 bits.

Nothing in the format keeps tiles from being larger than the image, or a thousand strips from being
the same bytes of the file. 5 KB with tiles 262144 wide for 16 x 1600 pixels took 1.5 s, 1 MB of
overlapping strips 5.5 s, and more of them take longer. A JPEG of 60 scans inside took 4.7 s.
"""

from __future__ import annotations

import struct
from typing import Dict, Mapping, NamedTuple, Optional, Set, Tuple

import numpy as np

from protocol.errors import UndecodableImage

from .jpeg import check_scans

NAME = "TIFF"

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES = 273, 277, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_STRIPS = {_STRIP_OFFSETS, _STRIP_BYTES}
_TILES = {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES}
_UNCOMPRESSED = 1
_JPEG = 7

# Work in megapixels of a plain photo (pipeline/stages/work.py), by compression: of one million
# pixels, of as many bytes of samples, and of as many bytes of the file. First in the table
# uncompressed, fax 3 and 4, LZW, JPEG, PackBits; Deflate is among the others.
_WORK = {
    1: (0.3, 0.2, 0.0),
    2: (2.0, 0.4, 0.0),
    3: (2.0, 0.4, 0.0),
    4: (2.0, 0.4, 0.0),
    5: (0.3, 0.4, 0.6),
    7: (0.5, 0.2, 1.8),
    32773: (0.3, 0.2, 0.2),
}
_WORK_OF_OTHERS = (0.3, 0.6, 1.2)
# CIE L*a*b* and LogLuv are converted pixel by pixel, in floating point.
_COLOUR_WORK = {8: 12.0, 9: 12.0, 10: 12.0, 32844: 16.0, 32845: 16.0}
_PER_PIECE = 1.0
_MOST_BITS = 4 * 64

# libtiff reads no longer directory of a BigTIFF.
_MAX_ENTRIES = 2**16 - 1
# What a number of 64 bits may be: no body is as large, and sums stay within 64 bits.
_LARGEST = 2**32 - 1
# 50 megapixels in tiles of 16 x 16, or as many rows. A million strips took 1.9 s.
_MAX_PIECES = 262_144
# Old writers get some sizes wrong, and equal tiles may be written once.
_MAX_SHARING = 4
# Tiles may reach over the right and lower edge: by any size in use, or by half of the image.
_TILES_OF_ANY_SIZE = 2048 * 2048

_BIG = (b"II+\x00\x08\x00\x00\x00", b"MM\x00+\x00\x08\x00\x00")


class _Layout(NamedTuple):
    """How a directory is written; types as `struct` and NumPy name them.

    `types` are those that a tag may have: SHORT, LONG, and LONG8 of a BigTIFF only. libtiff takes
    LONG8 in a TIFF too, which hid 9000 x 9000 pixels behind two offsets.
    """

    first: int  # the place of the offset of the first directory
    offset: str
    entries: str
    types: Mapping[int, str]


_CLASSIC_LAYOUT = _Layout(4, "I", "H", {3: "u2", 4: "u4"})
_BIG_LAYOUT = _Layout(8, "Q", "Q", {3: "u2", 4: "u4", 16: "u8"})


def matches(data: bytes) -> bool:
    """Return whether the data begins as a TIFF does, of either byte order."""
    return data[:4] in (b"II*\x00", b"MM\x00*") or data[:8] in _BIG


def size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height; of a tag that is there twice the larger number."""
    found = _read_tags(data, {_WIDTH, _HEIGHT})
    if len(found) < 2:
        return None
    return int(found[_WIDTH].max()), int(found[_HEIGHT].max())


def complete(_data: bytes) -> bool:
    """Return True: a TIFF has no end mark; OpenCV refuses one whose strips are missing."""
    return True


def guard(data: bytes, width: int, height: int) -> bytes:
    """Check that strips and tiles are not many times the file or the image.

    Raises:
        UndecodableImage: they are.
    """
    try:
        tags = _read_tags(data, {_COMPRESSION} | _STRIPS | _TILES)
    except struct.error:
        raise UndecodableImage("the TIFF is damaged or cut off in its header") from None
    if _TILE_WIDTH in tags and _TILE_HEIGHT in tags:
        _check_tiles(int(tags[_TILE_WIDTH].max()), int(tags[_TILE_HEIGHT].max()), width, height)
    offsets = np.concatenate([_numbers(tags, _STRIP_OFFSETS), _numbers(tags, _TILE_OFFSETS)])
    sizes = np.concatenate([_numbers(tags, _STRIP_BYTES), _numbers(tags, _TILE_BYTES)])
    # Old writers give sizes beyond the file; libtiff reads up to its end.
    sizes = np.minimum(sizes, len(data))
    compression = tags.get(_COMPRESSION, np.array([_UNCOMPRESSED]))
    if len(sizes) == 0 and np.any(compression != _UNCOMPRESSED):
        sizes = np.full(len(offsets), len(data))  # as libtiff guesses
    if max(len(offsets), len(sizes)) > _MAX_PIECES or sizes.sum() > _MAX_SHARING * len(data):
        raise UndecodableImage(
            "the TIFF's strips or tiles are too many or lie over each other; save it again as an "
            "ordinary JPEG or PNG"
        )
    if np.any(compression == _JPEG):
        for start, length in zip(offsets.tolist(), sizes.tolist()):
            check_scans(data[start : start + length], width * height)
    return data


def work(data: bytes, width: int, height: int) -> float:
    """Return the work of decoding: pixels, samples, strips or tiles, and compressed bytes."""
    wanted = {_BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES, _STRIP_OFFSETS, _TILE_OFFSETS}
    tags = _read_tags(data, wanted)
    compression = int(_numbers(tags, _COMPRESSION).max(initial=_UNCOMPRESSED))
    bits = int(_numbers(tags, _BITS).max(initial=1)) * int(_numbers(tags, _SAMPLES).max(initial=1))
    pieces = len(_numbers(tags, _STRIP_OFFSETS)) + len(_numbers(tags, _TILE_OFFSETS))
    per_pixel, per_raw_byte, per_byte = _WORK.get(compression, _WORK_OF_OTHERS)
    per_pixel += _COLOUR_WORK.get(int(_numbers(tags, _PHOTOMETRIC).max(initial=0)), 0.0)
    work = (per_pixel + per_raw_byte * min(bits, _MOST_BITS) / 8) * width * height
    return 1e-6 * (work + per_byte * len(data) + _PER_PIECE * pieces)


def _check_tiles(across: int, down: int, width: int, height: int) -> None:
    if across == 0 or down == 0:
        raise UndecodableImage("the TIFF has tiles of no size")
    covered = -(-width // across) * across * (-(-height // down) * down)
    if covered > width * height * 3 // 2 + _TILES_OF_ANY_SIZE:
        raise UndecodableImage(
            "the TIFF has tiles of {} x {} for {} x {} pixels; save it again as an ordinary JPEG "
            "or PNG".format(across, down, width, height)
        )


def _read_tags(data: bytes, wanted: Set[int]) -> Dict[int, np.ndarray]:
    """Return the numbers of the `wanted` tags that the first directory has.

    A tag that is there twice has the numbers of both, so that neither hides the other.

    Raises:
        struct.error: the directory or a number lies outside the data, or is of a wrong type.
    """
    layout = _CLASSIC_LAYOUT if data[2:4] in (b"*\x00", b"\x00*") else _BIG_LAYOUT
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + layout.offset, data, layout.first)
    if directory > len(data):
        raise struct.error("a directory beyond the end")
    (entries,) = struct.unpack_from(order + layout.entries, data, directory)
    if entries > _MAX_ENTRIES:
        raise struct.error("a directory of too many entries")
    first = directory + struct.calcsize("=" + layout.entries)
    head = order + "HH" + layout.offset  # tag, type, number of numbers; then these or their place
    inline = struct.calcsize("=" + layout.offset)
    found: Dict[int, np.ndarray] = {}
    for at in range(first, first + (4 + 2 * inline) * entries, 4 + 2 * inline):
        tag, kind, count = struct.unpack_from(head, data, at)
        if tag not in wanted:
            continue
        if kind not in layout.types or count == 0:
            raise struct.error("a tag of the wrong type")
        dtype = np.dtype(order + layout.types[kind])
        start = at + 4 + inline
        if count * dtype.itemsize > inline:
            (start,) = struct.unpack_from(order + layout.offset, data, start)
        if start + count * dtype.itemsize > len(data):
            raise struct.error("a tag beyond the end")
        numbers = np.frombuffer(data, dtype, count, start)
        if numbers.max() > _LARGEST:
            raise struct.error("a number beyond the end")
        found[tag] = np.concatenate([_numbers(found, tag), numbers.astype(np.int64)])
    return found


def _numbers(tags: Dict[int, np.ndarray], tag: int) -> np.ndarray:
    return tags.get(tag, np.zeros(0, np.int64))
