"""TIFF 6.0: the first page alone is read, as OpenCV reads it.

Nothing in the format keeps tiles from being larger than the image, or a thousand strips from being
the same bytes of the file. 5 KB with tiles 262144 wide for 16 x 1600 pixels took 1.5 s, 1 MB of
overlapping strips 5.5 s, and more of them take longer. A JPEG of 60 scans inside took 4.7 s.
"""

from __future__ import annotations

import struct
from typing import Dict, Optional, Set, Tuple

import numpy as np

from protocol.errors import UndecodableImage

from .jpeg import check_scans

NAME = "TIFF"

_WIDTH, _HEIGHT, _COMPRESSION = 256, 257, 259
_STRIP_OFFSETS, _STRIP_BYTES = 273, 279
_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_STRIPS = {_STRIP_OFFSETS, _STRIP_BYTES}
_TILES = {_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES}
# SHORT and LONG, the only types that these tags may have. libtiff takes LONG8 too, which hid
# 9000 x 9000 pixels behind two offsets.
_TYPES = {3: "u2", 4: "u4"}
_UNCOMPRESSED = 1
_JPEG = 7

# 50 megapixels in tiles of 16 x 16, or as many rows. A million strips took 1.9 s.
_MAX_PIECES = 262_144
# Old writers get some sizes wrong, and equal tiles may be written once.
_MAX_SHARING = 4
# Tiles may reach over the right and lower edge: by any size in use, or by half of the image.
_TILES_OF_ANY_SIZE = 2048 * 2048


def matches(data: bytes) -> bool:
    """Return whether the data begins as a TIFF does, of either byte order."""
    return data[:4] in (b"II*\x00", b"MM\x00*")


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
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, directory)
    found: Dict[int, np.ndarray] = {}
    for at in range(directory + 2, directory + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if tag not in wanted:
            continue
        if kind not in _TYPES or count == 0:
            raise struct.error("a tag of the wrong type")
        dtype = np.dtype(order + _TYPES[kind])
        start = at + 8
        if count * dtype.itemsize > 4:  # else the numbers stand in the entry itself
            (start,) = struct.unpack_from(order + "I", data, start)
        if start + count * dtype.itemsize > len(data):
            raise struct.error("a tag beyond the end")
        numbers = np.frombuffer(data, dtype, count, start).astype(np.int64)
        found[tag] = np.concatenate([_numbers(found, tag), numbers])
    return found


def _numbers(tags: Dict[int, np.ndarray], tag: int) -> np.ndarray:
    return tags.get(tag, np.zeros(0, np.int64))
