"""Pictures that are made, by accident or on purpose, to slip through the checks of the header."""

from __future__ import annotations

import struct
from collections.abc import Callable

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.image_header import is_complete, read_format, read_header
from protocol.errors import TooLarge, UndecodableImage


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
    assert not is_complete(cut, "JPEG")
    with pytest.raises(UndecodableImage, match="cut off"):
        decode_image(cut)


def test_a_whole_photo_with_a_thumbnail_is_read(photo: bytes) -> None:
    assert is_complete(photo, "JPEG")
    header = read_header(photo)
    assert header is not None
    assert (header.width, header.height) == (83, 61)  # not the thumbnail's
    assert decode_image(photo + bytes(1000)).shape == (61, 83, 3)


def test_a_progressive_jpeg_is_whole_only_with_its_last_scan(image: np.ndarray) -> None:
    data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_PROGRESSIVE, 1])[1].tobytes()
    assert np.array_equal(decode_image(data).shape, image.shape)
    for share in (0.5, 0.8, 0.95):
        with pytest.raises(UndecodableImage, match="cut off"):
            decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("suffix", [".bmp", ".tiff"])
def test_formats_without_an_end_mark_are_not_read_by_half(
    encode: Callable[[str], bytes], suffix: str
) -> None:
    data = encode(suffix)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(UndecodableImage):
            decode_image(data[: int(len(data) * share)])


@pytest.mark.parametrize("filling", [b"\xff", b"\xff\xd0", b"\xff\xe0\x00\x02"])
def test_a_jpeg_of_nothing_but_markers_is_given_up(filling: bytes) -> None:
    with pytest.raises(UndecodableImage, match="in its header"):
        decode_image(b"\xff\xd8" + filling * 200_000)


def test_fill_bytes_before_a_marker_are_fine(encode: Callable[[str], bytes]) -> None:
    data = encode(".jpg")
    header = read_header(data[:2] + b"\xff" * 100 + data[2:])
    assert header is not None
    assert (header.width, header.height) == (83, 61)


def tiff(*sizes: tuple[int, int]) -> bytes:
    """A TIFF that gives its width and height once or more often, and has no pixels."""
    tags = [(256 + i, 4, 1, size[i]) for size in sizes for i in (0, 1)]
    entries = b"".join(struct.pack("<HHII", *tag) for tag in sorted(tags, key=lambda tag: tag[0]))
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)


@pytest.mark.parametrize("sizes", [((20000, 20000), (10, 10)), ((10, 10), (20000, 20000))])
def test_a_size_given_twice_counts_as_the_larger(sizes: tuple[tuple[int, int], ...]) -> None:
    with pytest.raises(TooLarge, match="20000 x 20000"):
        decode_image(tiff(*sizes))


def test_a_text_that_begins_as_a_bmp_does_is_a_text() -> None:
    assert read_format(b"BMW is a make of cars") is None
    with pytest.raises(UndecodableImage, match="looks like text"):
        decode_image(b"BMW is a make of cars")


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_a_long_chinese_text_is_a_text(shift: int) -> None:
    with pytest.raises(UndecodableImage, match="looks like text"):
        decode_image(b"x" * shift + ("垃圾分类" * 100).encode())


def test_random_bytes_behind_every_magic_number_end_in_an_answer() -> None:
    rng = np.random.default_rng(4)
    starts = [b"\xff\xd8\xff\xc0", b"\x89PNG\r\n\x1a\n", b"BM", b"II*\0", b"MM\0*"]
    starts += [b"RIFF\x40\0\0\0WEBPVP8" + kind for kind in (b" ", b"L", b"X")]
    for _ in range(200):
        for start in starts:
            data = start + rng.bytes(int(rng.integers(0, 200)))
            with pytest.raises((UndecodableImage, TooLarge)):
                decode_image(data)
