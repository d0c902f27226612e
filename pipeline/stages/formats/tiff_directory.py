"""The first directory of a TIFF, or BigTIFF: its tags and their numbers.

libtiff reads every tag, the private ones too, and keeps a copy of what each points at. A thousand
tags may point at the same bytes: 1 MB took 1 GB of memory. So the tags are few, and what they point
at is together not much larger than the file.
"""

from __future__ import annotations

import struct
from typing import Dict, Mapping, NamedTuple, Set

import numpy as np

from protocol.errors import UndecodableImage

BIG_STARTS = (b"II+\x00\x08\x00\x00\x00", b"MM\x00+\x00\x08\x00\x00")


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


# Real files have 10 to 30 tags, raw photos a few hundred.
_MAX_ENTRIES = 1_000
# The bytes of a number, by the type of its tag; libtiff skips a tag of any other.
_TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}
_TYPE_BYTES.update({16: 8, 17: 8, 18: 8})
# Of what tags point at, over the size of the file.
_MAX_SHARING = 2
_SMALL = 65_536
_TOO_MANY = (
    "the TIFF's tags are more than {:,}, or lie over each other; save it again as an ordinary JPEG "
    "or PNG".format(_MAX_ENTRIES)
)
# 50 megapixels in tiles of 16 x 16, or as many rows. A million strips took 1.9 s.
_MAX_NUMBERS = 262_144
_TOO_MANY_NUMBERS = (
    "the TIFF has more than {:,} strips or tiles; save it again as an ordinary JPEG or PNG".format(
        _MAX_NUMBERS
    )
)
# What a number of 64 bits may be: no body is as large, and sums stay within 64 bits.
_LARGEST = 2**32 - 1


def read_tags(data: bytes, wanted: Set[int]) -> Dict[int, np.ndarray]:
    """Return the numbers of the `wanted` tags that the first directory has.

    Raises:
        struct.error: the directory or a number lies outside the data, or is of a wrong type.
        UndecodableImage: there are too many tags, many lie over each other, or one is there twice
            with different numbers, of which libraries take one or the other.
    """
    layout = _CLASSIC_LAYOUT if data[2:4] in (b"*\x00", b"\x00*") else _BIG_LAYOUT
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + layout.offset, data, layout.first)
    if directory > len(data):
        raise struct.error("a directory beyond the end")
    (entries,) = struct.unpack_from(order + layout.entries, data, directory)
    if entries > _MAX_ENTRIES:
        raise UndecodableImage(_TOO_MANY)
    first = directory + struct.calcsize("=" + layout.entries)
    head = order + "HH" + layout.offset  # tag, type, number of numbers; then these or their place
    inline = struct.calcsize("=" + layout.offset)
    found: Dict[int, np.ndarray] = {}
    elsewhere = 0  # bytes that tags point at
    for at in range(first, first + (4 + 2 * inline) * entries, 4 + 2 * inline):
        tag, kind, count = struct.unpack_from(head, data, at)
        octets = count * _TYPE_BYTES.get(kind, 0)
        # libtiff reads no tag that goes beyond the end.
        elsewhere += octets if inline < octets <= len(data) else 0
        if elsewhere > _MAX_SHARING * len(data) + _SMALL:
            raise UndecodableImage(_TOO_MANY)
        if tag not in wanted:
            continue
        if kind not in layout.types or count == 0:
            raise struct.error("a tag of the wrong type")
        if count > _MAX_NUMBERS:
            raise UndecodableImage(_TOO_MANY_NUMBERS)
        dtype = np.dtype(order + layout.types[kind])
        start = at + 4 + inline
        if count * dtype.itemsize > inline:
            (start,) = struct.unpack_from(order + layout.offset, data, start)
        if start + count * dtype.itemsize > len(data):
            raise struct.error("a tag beyond the end")
        numbers = np.frombuffer(data, dtype, count, start)
        if numbers.max() > _LARGEST:
            raise struct.error("a number beyond the end")
        if tag in found and not np.array_equal(found[tag], numbers):
            raise UndecodableImage(
                "the TIFF gives tag {} twice, with different values; save it again as an ordinary "
                "JPEG or PNG".format(tag)
            )
        found[tag] = numbers.astype(np.int64)
    return found


def numbers_of(tags: Dict[int, np.ndarray], tag: int) -> np.ndarray:
    """Return the numbers of a tag, int64; none if it is not there."""
    return tags.get(tag, np.zeros(0, np.int64))
