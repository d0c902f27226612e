"""Markers are found where libjpeg finds them, so that the limits see the file that it decodes."""

from __future__ import annotations

import random
import struct
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import DecodeLimits, decode_image
from pipeline.stages.formats import jpeg
from pipeline.stages.work import estimated_megapixels
from protocol.errors import TooLarge, UndecodableImage
from reliability.attack.bombs import segment

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fuzz"))
import image_bombs as bombs

SCAN_HEADER = b"\x00\x08\x01\x01\x00\x00\x00\x00"
# What may stand before a marker, and what looks as if it did. Some make the file unreadable.
INSERTED = [
    b"\x00",
    b"stray",
    b"\xff",
    b"\xff\xff",
    b"\xff\x00",
    b"\xff\xff\x00\x10",
    b"\xff\x00\x00\x20",
    b"\xff\x01",
    b"\xff\xd0",
    b"\xff\xd3\xff\xd5",
    b"\xff\x02\x00\x0a",
    b"\xff\xbf\x00\x20",
    b"\xff\xc8\x00\x04ab",
    b"\xff\xd8",
    b"\xff\xd9",
    b"\xff\xda",
    b"\xff\xdc\x00\x04\x00\x08",
    b"\xff\xdd\x00\x04\x00\x01",
    b"\xff\xe1\x00\x12",
    b"\xff\xf3\x00\x04",
    b"\xff\xfe\x00\x00",
    b"\xff\xfe\x00\x01",
    b"\xff\xfe\x00\x04ab",
    b"\xff\xc2\x00\x0b\x08\x00\x40\x00\x40\x01\x01\x11\x00",
    segment(0xDA, b"\x01\x01\x00\x00\x00\x00") + b"\x40",
]


def opencv(data: bytes) -> np.ndarray | None:
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.imdecode(np.frombuffer(data, np.uint8), flags)


def numbered_scans(scans: int) -> tuple[list[bytes], bytes]:
    """The pieces of a JPEG of 8 x 8, and its end: the last scan that is read gives its grey.

    Every scan sets the mean of the only block: a code of one bit, and 7 bits from 64 on.
    """
    pieces = [
        segment(0xDB, b"\0" + b"\x08" * 64),
        segment(0xC2, struct.pack(">BHHB", 8, 8, 8, 1) + b"\x01\x11\x00"),
        segment(0xC4, b"\x00\x01" + bytes(15) + b"\x07"),
    ]
    pieces += [b"\xff\xda" + SCAN_HEADER + bytes([64 + number]) for number in range(scans)]
    return pieces, b"\xff\xd9"


def last_scan(data: bytes) -> int:
    """The start of the last scan header that our walk finds."""
    return [position for marker, position in jpeg._markers(data) if marker == 0xDA][-1]


def test_the_grey_of_numbered_scans_is_that_of_the_last() -> None:
    pieces, end = numbered_scans(60)
    for scans in (1, 30, 60):
        decoded = opencv(b"\xff\xd8" + b"".join(pieces[: 3 + scans]) + end)
        assert decoded is not None
        assert (decoded == 128 + 64 + scans - 1).all()


@pytest.mark.parametrize("stray", [b"\x00", b"x", b"\n\n", b"\xff\x00", b"\xff\x01", b"\xff\xd2"])
def test_stray_bytes_before_any_marker_are_skipped_as_libjpeg_skips_them(
    encode: Callable[[str], bytes], stray: bytes
) -> None:
    data = encode(".jpg")
    starts = [position - 2 for _, position in jpeg._header(data)]
    assert len(starts) > 5
    # OpenCV recognises a JPEG by its first three bytes.
    for start in starts[1:]:
        dirty = data[:start] + stray + data[start:]
        assert np.array_equal(decode_image(dirty), decode_image(data))
    assert np.array_equal(decode_image(data[:-2] + stray + data[-2:]), decode_image(data))


def test_a_size_behind_ff_00_is_the_size() -> None:
    real = cv2.imencode(".jpg", np.zeros((300, 400, 3), np.uint8))[1].tobytes()
    start = next(position - 2 for marker, position in jpeg._header(real) if marker == 0xC0)
    # Taken for a segment, FF 00 would hide the frame, and a comment after it show another.
    other = struct.pack(">BHHB", 8, 8, 8, 3)
    trick = b"\xff\x00" + struct.pack(">H", 2 + 19 + 4)
    comment = b"\xff\xfe\x00\x15" + b"\xff\xc0\x00\x11" + other + bytes(7)
    data = real[:start] + trick + real[start : start + 19] + comment + real[start + 19 :]
    decoded = opencv(data)
    assert decoded is not None
    assert decoded.shape == (300, 400, 3)
    assert jpeg.size(data) == (400, 300)
    with pytest.raises(TooLarge, match="400 x 300"):
        decode_image(data, DecodeLimits(max_pixels=10_000))


@pytest.mark.parametrize("hiding", [b"\xff\x02", b"\xff\xbf", b"\xff\xff\xff\x02"])
def test_scans_behind_a_marker_without_meaning_are_counted(hiding: bytes) -> None:
    """With restart intervals libjpeg reads on from it."""
    data = bombs.many_scans(130, 16)
    first = data.index(b"\xff\xda")
    second = data.index(b"\xff\xda", first + 2)
    restarts = b"\xff\xdd\x00\x04\x00\x01"
    hidden = data[:first] + restarts + data[first:second] + hiding + b"\xff\x00" + data[second:]
    with pytest.raises(UndecodableImage, match="too many scans"):
        decode_image(hidden)


def test_a_long_run_of_fill_bytes_takes_no_time() -> None:
    """A search that takes the run at each of its bytes would take an hour for this one."""
    data = bombs.many_scans(30, 8)
    run = b"\xff" * 2**20
    assert decode_image(data[:-2] + run + b"\x00" + data[-2:]).shape == (8, 8, 3)
    assert decode_image(data[:-2] + run + data[-2:]).shape == (8, 8, 3)
    assert jpeg.size(data[:2] + run[:60_000] + b"\x00" + data[2:]) == (8, 8)


@pytest.mark.parametrize("stray", [b"\xff", b"\x00", b"\xff\x00", b"\xff\xfe\x00\x02"])
def test_a_header_is_searched_within_bounds(stray: bytes) -> None:
    """Whatever the size of the data, it is read up to 64 KiB of stray bytes or 1000 segments."""
    data = bombs.many_scans(3, 8)

    second = [position - 2 for _, position in jpeg._header(data)][1]
    hidden = data[:second] + stray * (2**23 // len(stray)) + data[second:]
    assert estimated_megapixels(hidden) == 0
    with pytest.raises(UndecodableImage, match="before its pixels"):
        decode_image(hidden)


@pytest.mark.parametrize("seed", range(10))
def test_the_walk_and_opencv_find_the_same_frame_and_the_same_last_scan(seed: int) -> None:
    rng = random.Random(seed)
    read = 0
    for _ in range(400):
        pieces, end = numbered_scans(rng.randrange(1, 40))
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(1, len(pieces) + 1)
            pieces.insert(at, rng.choice(INSERTED) * rng.choice((1, 1, 1, 3)))
        data = b"\xff\xd8" + b"".join(pieces) + end
        decoded = opencv(data)
        if decoded is None:
            continue
        read += 1
        height, width = decoded.shape[:2]
        assert jpeg.size(data) == (width, height), data.hex()
        scan = last_scan(data)
        if data[scan : scan + 8] == SCAN_HEADER and data[scan + 8] != 0xFF:
            assert (decoded == 128 + data[scan + 8]).all(), data.hex()
    assert read > 50
