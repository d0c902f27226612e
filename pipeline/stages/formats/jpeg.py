"""JPEG (ITU-T T.81): its size, its end mark, and how often it goes over its pixels.

    SOI, segments (a marker, a length, content), SOS, coded pixels, further segments and scans, EOI

Markers are found as libjpeg finds them (`_markers`), stray bytes included. Otherwise a file could
show its limits one size and libjpeg another.

Every scan visits every block of 8 x 8 pixels, whether it has bits for it or not: 324 KB with 3000
scans of 49 million pixels took 11 s. Progressive files of libjpeg have 10 scans, optimised ones a
few more. The budget is the work of 50 megapixels with 20 scans; at most that took, on one core of
an AMD EPYC, 2.3 s with Huffman coding and 3.0 s with arithmetic coding.
"""

from __future__ import annotations

import re
import struct
from typing import Iterator, NamedTuple, Optional, Tuple

import numpy as np

from protocol.errors import UndecodableImage

NAME = "JPEG"

_SCAN = 0xDA
_END = 0xD9
# Sequential, by Huffman or arithmetic coding: one scan may hold all components.
_SEQUENTIAL = (0xC0, 0xC1, 0xC9)

# Baseline, extended and progressive.
_HUFFMAN = (0xC0, 0xC1, 0xC2)

# The next marker, wherever it stands. Neither FF 00 (a byte FF of the pixels) nor further FFs are
# one; TEM (01) and the restart markers (D0 to D7) have no content and change nothing here.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd7\xff])", re.DOTALL)
# A marker below has no meaning.
_FIRST_MARKER = 0xC0
# Second SOI, JPG, DHP, EXP, and all that T.81 reserves: libjpeg reads no further.
_REFUSED = (0xC8, 0xD8, 0xDE, 0xDF, *range(0xF0, 0xFE))
# Real files have a few hundred segments. A file of nothing else must not keep a worker busy.
_MAX_SEGMENTS = 10_000
# Before the pixels: EXIF, profiles in pieces of 64 KiB, tables. The header is walked through for
# each image before anything is known of it, so its parts are few.
_MAX_HEADER_SEGMENTS = 1_000
_MAX_STRAY_BYTES = 65_536
_LONG_HEADER = (
    "the JPEG has more than {:,} segments, or more than {:,} bytes between them, before its "
    "pixels; save it again as an ordinary JPEG".format(_MAX_HEADER_SEGMENTS, _MAX_STRAY_BYTES)
)
# OpenCV parses each EXIF segment, at up to 8 ms for 64 KiB; cameras write one.
_MAX_EXIF_SEGMENTS = 4
_APP1 = 0xE1
_EXIF = b"Exif\0\0"

# Work in megapixels of a plain photo (pipeline/stages/work.py): of one million pixels, of as many
# samples, of as many samples in each further scan, and of a million bytes.
_PER_PIXEL = 0.25
_PER_SAMPLE = {"huffman": 0.13, "progressive": 0.13, "arithmetic": 1.5}
_PER_SCAN = {"huffman": 0.03, "progressive": 0.03, "arithmetic": 1.0}
_PER_BYTE = {"huffman": 1.8, "progressive": 6.5, "arithmetic": 35.0}

_MAX_SCANS = 100
_ALWAYS_FINE = 20
_MAX_SCANNED_PIXELS = 20 * 50_000_000


def matches(data: bytes) -> bool:
    """Return whether the data begins as a JPEG does."""
    # F7 is the frame of a JPEG-LS, which libjpeg refuses.
    return data[:3] == b"\xff\xd8\xff" and data[3:4] != b"\xf7"


def size(data: bytes) -> Optional[Tuple[int, int]]:
    """Return width and height, from the frame segment."""
    frame = _frame(data)
    if frame is None:
        return None
    height, width = struct.unpack_from(">HH", data, frame[1] + 3)
    return width, height


def complete(data: bytes) -> bool:
    """Return whether there is an end mark behind the beginning of the pixels.

    OpenCV fills what is missing of a cut-off JPEG with grey and reports nothing. Bytes after the
    end mark are common (cameras pad) and fine. An end mark before the pixels is that of the
    thumbnail in a photo's EXIF data, which is a whole JPEG.
    """
    pixels = _head(data).scan_at
    return data.rfind(b"\xff\xd9", len(data) if pixels is None else pixels) > 0


def guard(data: bytes, width: int, height: int) -> bytes:
    """Check the number of scans (see `check_scans`) and of EXIF segments.

    Raises:
        UndecodableImage: there are too many.
    """
    head = _head(data)
    if head.exif > _MAX_EXIF_SEGMENTS:
        raise UndecodableImage(
            "the JPEG has {} segments of EXIF data; at most {} are read, save it again as an "
            "ordinary JPEG".format(head.exif, _MAX_EXIF_SEGMENTS)
        )
    if not head.has_one_scan:
        check_scans(data, width * height)
    return data


def work(data: bytes, width: int, height: int) -> float:
    """Return the work of decoding: pixels and samples, those that pad the blocks too, and bytes."""
    head = _head(data)
    return 0.0 if head.frame is None else _work(data, head, width, height)


def bounded_work(data: bytes) -> Optional[float]:
    """Return `work` where it is about the most that decoding takes, whatever the bits are.

    Of Huffman codes each scan goes once over the blocks of the frame, and `work` counts each place
    that may begin a scan. An arithmetic decoder takes far longer over some bits than over others:
    then, and without a frame, it is None.

    Raises:
        struct.error, IndexError, UndecodableImage: the header is cut off or damaged.
    """
    head = _head(data)
    if head.frame is None or head.frame[0] not in _HUFFMAN:
        return None
    height, width = struct.unpack_from(">HH", data, head.frame[1] + 3)
    return _work(data, head, width, height)


def _work(data: bytes, head: _Head, width: int, height: int) -> float:
    assert head.frame is not None  # noqa: S101 - for mypy
    marker, position = head.frame
    sampling = data[position + 9 : position + 8 + 3 * data[position + 7] : 3]
    across = max([1, *(factors >> 4 for factors in sampling)])
    down = max([1, *(factors & 15 for factors in sampling)])
    units = -(-width // (8 * across)) * -(-height // (8 * down))
    pixels = 64e-6 * units * across * down
    samples = 64e-6 * units * sum((factors >> 4) * (factors & 15) for factors in sampling)
    coding = "huffman" if marker in (0xC0, 0xC1) else "progressive"
    if marker > 0xC8:
        coding = "arithmetic"
    scans = 1 if head.has_one_scan else min(_most_scans(data), _MAX_SCANS)
    return (
        _PER_PIXEL * pixels
        + (_PER_SAMPLE[coding] + _PER_SCAN[coding] * (scans - 1)) * samples
        + _PER_BYTE[coding] * 1e-6 * len(data)
    )


def frame_of(data: bytes) -> Optional[Tuple[Tuple[int, int], bool]]:
    """Return width and height of the JPEG, and whether it has one scan alone; None without them."""
    try:
        found = size(data)
    except (struct.error, IndexError):
        return None
    return None if found is None else (found, _head(data).has_one_scan)


def check_scans(data: bytes, pixels: int) -> None:
    """Refuse a JPEG with too many scans, in all or for its number of `pixels`.

    Raises:
        UndecodableImage: there are too many; the text has the number.
    """
    # Only a file that may have too many is walked through.
    if _head(data).has_one_scan or _most_scans(data) <= _ALWAYS_FINE:
        return
    scans = _count_scans(data)
    if scans > _MAX_SCANS:
        count = "more than {}".format(_MAX_SCANS)
    elif scans > _ALWAYS_FINE and scans * pixels > _MAX_SCANNED_PIXELS:
        count = "{} for {:,} pixels".format(scans, pixels)
    else:
        return
    raise UndecodableImage(
        "the JPEG has too many scans, {}; save it again as an ordinary JPEG".format(count)
    )


def _markers(data: bytes) -> Iterator[Tuple[int, int]]:
    """Yield each marker that libjpeg reads, at most _MAX_SEGMENTS, with the position after it.

    This is next_marker of its jdmarker.c: bytes up to the next marker are skipped, in the header
    too, and the content of a segment is stepped over by its length. The search takes one byte FF,
    since a run of them, taken at every start, costs the square of its length.

    Raises:
        UndecodableImage: there are too many segments, or bytes between them, before the pixels.
    """
    position = 2
    in_pixels = False
    stray = _MAX_STRAY_BYTES
    for number in range(_MAX_SEGMENTS):
        reach = len(data) if in_pixels else position + stray + 2
        match = _MARKER.search(data, position, reach)
        if not in_pixels and (number >= _MAX_HEADER_SEGMENTS or (not match and reach < len(data))):
            raise UndecodableImage(_LONG_HEADER)
        if match is None:
            return
        stray -= match.start() - position
        marker, position = match.group(1)[0], match.end()
        yield marker, position
        if marker < _FIRST_MARKER:
            if not in_pixels:
                return
            continue  # libjpeg may look for the next restart marker from here
        if marker == _END or marker in _REFUSED or position + 2 > len(data):
            return
        in_pixels = in_pixels or marker == _SCAN
        position += max(2, int(struct.unpack_from(">H", data, position)[0]))


def _header(data: bytes) -> Iterator[Tuple[int, int]]:
    """Yield what `_markers` yields, up to and with the first scan."""
    for marker, position in _markers(data):
        yield marker, position
        if marker == _SCAN:
            return


def _frame(data: bytes) -> Optional[Tuple[int, int]]:
    """Return the first frame marker and the position after it."""
    return next((found for found in _header(data) if _is_frame(found[0])), None)


def _is_frame(marker: int) -> bool:
    """Return whether the segment holds the size: SOF0 to SOF15, without DHT, JPG and DAC."""
    return 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)


class _Head(NamedTuple):
    """What stands before the pixels.

    Attributes:
        frame: the first frame marker and the position after it.
        scan_at: the position after the first scan marker.
        exif: how many segments of EXIF data there are.
        has_one_scan: whether the first scan has every component; libjpeg then reads no second one.
    """

    frame: Optional[Tuple[int, int]]
    scan_at: Optional[int]
    exif: int
    has_one_scan: bool


def _head(data: bytes) -> _Head:
    """Walk through the header once.

    Raises:
        UndecodableImage: as `_markers`.
    """
    first: Optional[Tuple[int, int]] = None
    components = exif = 0
    is_sequential = True
    for marker, position in _markers(data):
        if marker == _SCAN:
            has_one = is_sequential and data[position + 2 : position + 3] == bytes([components])
            return _Head(first, position, exif, has_one)
        if marker == _APP1:
            exif += data.startswith(_EXIF, position + 2)
        elif _is_frame(marker):
            first = first or (marker, position)
            if marker not in _SEQUENTIAL or position + 8 > len(data):
                is_sequential = False
            else:
                components = data[position + 7]
    return _Head(first, None, exif, has_one_scan=False)


def _most_scans(data: bytes) -> int:
    """Return how often the two bytes of the scan marker occur anywhere in the data.

    NumPy takes 0.2 ms for a megabyte, a quarter of the time of bytes.count.
    """
    if len(data) < 2:
        return 0
    scan = np.array([0xFF, _SCAN], np.uint8).view(np.uint16)[0]
    return sum(
        int(np.count_nonzero(np.frombuffer(data, np.uint16, (len(data) - odd) // 2, odd) == scan))
        for odd in (0, 1)
    )


def _count_scans(data: bytes) -> int:
    """Return the number of scans up to the end mark; one more than allowed if it cannot be found.

    Neither a thumbnail in EXIF data nor a video behind the image counts.
    """
    scans = segments = 0
    for marker, _ in _markers(data):
        segments += 1
        scans += marker == _SCAN
        if scans > _MAX_SCANS:
            return scans
    return scans if segments < _MAX_SEGMENTS else _MAX_SCANS + 1
