"""How often a JPEG goes over its pixels, so that a small file cannot keep a worker busy.

Every scan visits every block of 8 x 8, whether it brings bits for it or not: 324 KB with 3000 scans
of 49 million pixels took 11 s. Progressive files of libjpeg have 10, optimized ones some more.

The budget is the work of a 50-megapixel picture with 20 scans. The most that it
took in experiments, on one core of an AMD EPYC: Huffman coding 2.3 s, arithmetic coding 3.0 s.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from protocol.errors import UndecodableImage

from .jpeg_segments import END, SCAN, is_frame, segments

_MAX_SCANS = 100
_ALWAYS_FINE = 20
_MAX_SCANNED_PIXELS = 20 * 50_000_000
# Between scans stand tables, one or two for each.
_MAX_SEGMENTS = 10_000

# Sequential, by Huffman or arithmetic coding: one scan may be all there is.
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)
# What is neither a byte FF of the coded pixels nor a mark without content between them.
_MARKER = re.compile(rb"\xff+([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)


def check_scans(data: bytes, pixels: int) -> None:
    """Refuse a JPEG whose scans are many, by themselves or for its `pixels`.

    Raises:
        UndecodableImage: likewise; the text has the number.
    """
    # The walk over the whole file is for the few that are not so by far.
    if _ends_with_first_scan(data) or _most_scans(data) <= _ALWAYS_FINE:
        return
    scans = _count_scans(data)
    if scans > _MAX_SCANS:
        told = "more than {}".format(_MAX_SCANS)
    elif scans > _ALWAYS_FINE and scans * pixels > _MAX_SCANNED_PIXELS:
        told = "{} for {:,} pixels".format(scans, pixels)
    else:
        return
    raise UndecodableImage(
        "the JPEG has too many scans, {}; save it again as an ordinary JPEG".format(told)
    )


def _ends_with_first_scan(data: bytes) -> bool:
    """Return whether the first scan has all there is: libjpeg does not go on to a second one."""
    components = 0
    for marker, position in segments(data):
        if is_frame(marker):
            if marker not in _SEQUENTIAL or position + 8 > len(data):
                return False
            components = data[position + 7]
        elif marker == SCAN:
            return data[position + 2 : position + 3] == bytes([components])
    return False


def _most_scans(data: bytes) -> int:
    """Return how often their marker's two bytes stand anywhere.

    NumPy takes a sixth of the time of bytes.count, which is 3% of what decoding takes.
    """
    pixels = np.frombuffer(data, np.uint8)
    return int(np.count_nonzero((pixels[:-1] == 0xFF) & (pixels[1:] == SCAN)))


def _count_scans(data: bytes) -> int:
    """Return the scans up to the end mark; more than can be decoded where there is no end to it.

    It goes as libjpeg does: what has a length is stepped over, so that neither a thumbnail in EXIF
    data nor a video behind the picture counts.
    """
    scans = 0
    position = 2
    for _ in range(_MAX_SEGMENTS):
        match = _MARKER.search(data, position)
        if match is None or match.group(1)[0] == END or match.end() + 2 > len(data):
            return scans
        scans += match.group(1)[0] == SCAN
        if scans > _MAX_SCANS:
            return scans
        (length,) = struct.unpack_from(">H", data, match.end())
        position = match.end() + max(2, int(length))
    return _MAX_SCANS + 1
