"""What the first directory of a TIFF says (TIFF 6.0; the other pages are not decoded)."""

from __future__ import annotations

import struct
from typing import Dict, Tuple

import numpy as np

WIDTH, HEIGHT, COMPRESSION = 256, 257, 259
STRIP_OFFSETS, STRIP_BYTES = 273, 279
TILE_WIDTH, TILE_HEIGHT, TILE_OFFSETS, TILE_BYTES = 322, 323, 324, 325

# Types SHORT and LONG, the only ones that the tags above may have.
_TYPES = {3: "u2", 4: "u4"}


def read_fields(data: bytes, tags: Tuple[int, ...]) -> Dict[int, np.ndarray]:
    """Return the numbers of those of `tags` that are there.

    A tag given twice has the numbers of both, so that none hides another.

    Raises:
        struct.error: the directory or a number lies outside the data, or is of a wrong type.
            libtiff takes LONG8 too, which hid 9000 x 9000 pixels behind two offsets.
    """
    order = "<" if data[:2] == b"II" else ">"
    (position,) = struct.unpack_from(order + "I", data, 4)
    (entries,) = struct.unpack_from(order + "H", data, position)
    found: Dict[int, np.ndarray] = {}
    for at in range(position + 2, position + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(order + "HHI", data, at)
        if tag in tags:
            numbers = _numbers(data, order, at + 8, kind, count)
            found[tag] = np.concatenate([found[tag], numbers]) if tag in found else numbers
    return found


def _numbers(data: bytes, order: str, at: int, kind: int, count: int) -> np.ndarray:
    if kind not in _TYPES or count == 0:
        raise struct.error("a tag of the wrong type")
    dtype = np.dtype(order + _TYPES[kind])
    if count * dtype.itemsize > 4:
        (at,) = struct.unpack_from(order + "I", data, at)
    if at + count * dtype.itemsize > len(data):
        raise struct.error("a tag beyond the end")
    return np.frombuffer(data, dtype, count, at).astype(np.int64)
