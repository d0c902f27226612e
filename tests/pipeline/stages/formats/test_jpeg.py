"""JPEGs that are cut off, have thumbnails, or go over their pixels too often."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.formats import jpeg
from protocol.errors import UndecodableImage
from reliability.attack.bombs import segment

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fuzz"))
import image_bombs as bombs


@pytest.fixture
def photo(image: np.ndarray) -> bytes:
    """A JPEG with a thumbnail in its EXIF data, as cameras and phones write them."""
    whole = cv2.imencode(".jpg", image)[1].tobytes()
    thumbnail = cv2.imencode(".jpg", image[::4, ::4])[1].tobytes()
    segment = b"Exif\0\0" + thumbnail
    return b"\xff\xd8\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + whole[2:]


@pytest.mark.parametrize("share", [0.7, 0.8, 0.9, 0.99])
def test_the_end_of_a_thumbnail_is_not_the_end_of_the_photo(photo: bytes, share: float) -> None:
    cut = photo[: int(len(photo) * share)]
    assert cut.count(b"\xff\xd9") == 1  # the thumbnail's
    assert not jpeg.complete(cut)
    with pytest.raises(UndecodableImage, match="cut off"):
        decode_image(cut)


def test_a_whole_photo_with_a_thumbnail_is_read(photo: bytes) -> None:
    assert jpeg.complete(photo)
    assert jpeg.size(photo) == (83, 61)  # not the thumbnail's
    assert decode_image(photo + bytes(1000)).shape == (61, 83, 3)


def test_a_progressive_jpeg_is_whole_only_with_its_last_scan(image: np.ndarray) -> None:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert np.array_equal(decode_image(data).shape, image.shape)
    for share in (0.5, 0.8, 0.95):
        with pytest.raises(UndecodableImage, match="cut off"):
            decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xd0", b"\xff\xe0\x00\x02"])
def test_a_jpeg_of_nothing_but_markers_is_given_up(filling: bytes) -> None:
    with pytest.raises(UndecodableImage, match="before its pixels"):
        decode_image(b"\xff\xd8" + filling * 200_000)
    with pytest.raises(UndecodableImage, match="in its header"):
        decode_image(b"\xff\xd8" + filling * 200)


def test_a_jpeg_of_many_exif_segments_is_refused(encode: Callable[[str], bytes]) -> None:
    """OpenCV parses each: 8 ms for 64 KiB, whatever the number of pixels."""
    data = encode(".jpg")
    exif = segment(0xE1, b"Exif\0\0" + bombs.exif(60_000, 2700))
    xmp = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + bytes(60_000))
    assert decode_image(data[:2] + exif * 4 + xmp * 50 + data[2:]).shape == (61, 83, 3)
    with pytest.raises(UndecodableImage, match="5 segments of EXIF data"):
        decode_image(data[:2] + exif * 5 + data[2:])


def test_fill_bytes_before_a_marker_are_fine(encode: Callable[[str], bytes]) -> None:
    data = encode(".jpg")
    assert jpeg.size(data[:2] + b"\xff" * 100 + data[2:]) == (83, 61)


@pytest.mark.parametrize("rest", [b"", b"\x00"])
def test_a_jpeg_that_ends_in_the_length_of_a_segment(rest: bytes) -> None:
    frame = b"\xff\xc0\x00\x11\x08\x00\x0c\x00\x11\x03" + bytes(9)
    with pytest.raises(UndecodableImage, match="cut off"):
        decode_image(b"\xff\xd8" + frame + b"\xff\xe0" + rest)


@pytest.mark.parametrize(
    ("scans", "side", "message"),
    [
        (3000, 16, "more than 100"),
        (101, 16, "more than 100"),
        (100, 16, None),
        (21, 7000, "21 for 49,000,000 pixels"),
        (20, 1000, None),
    ],
)
def test_the_scans_of_a_jpeg_are_counted(scans: int, side: int, message: str | None) -> None:
    data = bombs.many_scans(scans, side)
    if message is None:
        assert decode_image(data).shape == (side, side, 3)
    else:
        with pytest.raises(UndecodableImage, match=message):
            decode_image(data)


def test_scan_markers_outside_the_pixels_are_not_counted(encode: Callable[[str], bytes]) -> None:
    data = encode(".jpg")
    progressive = bombs.many_scans(10, 16)
    likely = b"\xff\xda\x00\x0c" * 200
    segment = b"\xff\xe1" + struct.pack(">H", len(likely) + 2) + likely
    for whole in (data, progressive):
        for case in (whole[:2] + segment + whole[2:], whole + likely):
            assert np.array_equal(decode_image(case), decode_image(whole))


@pytest.mark.parametrize("filling", [b"\xff\xfe\x00\x02", b"\xff\xfe\x00\x00"])
def test_a_jpeg_of_nothing_but_comments_between_its_scans(filling: bytes) -> None:
    data = bombs.many_scans(30, 8)
    with pytest.raises(UndecodableImage, match="too many scans"):
        jpeg.check_scans(data[:-2] + filling * 20_000 + data[-2:], 64)
