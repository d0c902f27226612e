"""Images that are made, by accident or on purpose, to slip through the checks of the header."""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.formats import jpeg, png
from pipeline.stages.formats.image_format import format_of
from protocol.errors import TooLarge, UndecodableImage

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))
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
    assert jpeg.size(data[:2] + b"\xff" * 100 + data[2:]) == (83, 61)


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
    assert format_of(b"BMW is a make of cars") is None
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


@pytest.mark.parametrize("kind", [b"IDAT", b"IEND"])
def test_a_chunk_of_a_png_beyond_its_end_allocates_nothing(
    encode: Callable[[str], bytes], kind: bytes
) -> None:
    data = encode(".png")
    position = data.index(kind) - 4
    # A decoder takes the length at its word, and 4 GiB of memory for it.
    bomb = data[:position] + struct.pack(">I", 0xFFFFFF00) + data[position + 4 :]
    with pytest.raises(UndecodableImage, match="cut off"):
        decode_image(bomb)


@pytest.mark.parametrize("rest", [b"", b"\x00"])
def test_a_jpeg_that_ends_in_the_length_of_a_segment(rest: bytes) -> None:
    frame = b"\xff\xc0\x00\x11\x08\x00\x0c\x00\x11\x03" + bytes(9)
    with pytest.raises(UndecodableImage, match="cut off"):
        decode_image(b"\xff\xd8" + frame + b"\xff\xe0" + rest)


def test_texts_and_profiles_of_a_png_never_reach_opencv(capfd: pytest.CaptureFixture[str]) -> None:
    bomb = bombs.text_bomb(100)
    assert len(bomb) > 500_000
    # All that OpenCV gets: what it would inflate to 800 MB is gone, and the forged line of a log.
    assert png.guard(bomb, 8, 8) == bombs.png()
    assert decode_image(bomb).shape == (8, 8, 3)
    assert capfd.readouterr() == ("", "")


def test_pixel_data_behind_the_pixels_is_not_inflated() -> None:
    with pytest.raises(UndecodableImage, match="far behind its pixels"):
        decode_image(bombs.endless_pixels(200))
    assert decode_image(bombs.endless_pixels(1)).shape == (8, 8, 3)


def test_a_large_png_is_inflated_whole_before_it_is_decoded() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (700, 700, 3), np.uint8)
    data = cv2.imencode(".png", noise)[1].tobytes()
    assert len(data) * 1032 > 2**30
    assert np.array_equal(decode_image(data), noise[:, :, ::-1])


def test_a_grey_animation_does_not_touch_the_heap_of_opencv() -> None:
    assert png.guard(bombs.grey_animation(), 8, 8) == bombs.png(colours=0, row=8)
    assert decode_image(bombs.grey_animation()).shape == (8, 8, 3)


def test_exif_data_larger_than_a_camera_writes_is_refused() -> None:
    large, small = bombs.exif(70_000, 100), bombs.exif(60_000, 100)
    assert decode_image(bombs.png(bombs.chunk(b"eXIf", small) * 3)).shape == (8, 8, 3)
    with pytest.raises(UndecodableImage, match="70,000 bytes of EXIF data"):
        decode_image(bombs.png(bombs.chunk(b"eXIf", large)))
    pixels = cv2.imencode(".webp", np.zeros((8, 8, 3), np.uint8))[1].tobytes()[12:]
    start = b"VP8X" + struct.pack("<I", 10) + bytes([8, 0, 0, 0, 7, 0, 0, 7, 0, 0])
    for exif, extra, message in ((large, b"", "EXIF"), (b"", bytes(8 * 10_001), "10,000 chunks")):
        body = b"WEBP" + start + pixels + b"EXIF" + struct.pack("<I", len(exif)) + exif + extra
        with pytest.raises(UndecodableImage, match=message):
            decode_image(b"RIFF" + struct.pack("<I", len(body)) + body)


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


@pytest.mark.parametrize("data", [bombs.shared_strips(100), bombs.shared_strips(300_000)])
def test_strips_that_lie_over_each_other(data: bytes) -> None:
    with pytest.raises(UndecodableImage, match="over each other"):
        decode_image(data)


def test_strips_of_unknown_size_are_taken_for_the_whole_file() -> None:
    fields = {256: [8], 257: [80], 259: [8], 273: [8] * 80, 278: [1]}
    with pytest.raises(UndecodableImage, match="over each other"):
        decode_image(bombs.tiff(fields, bytes(1000)))


def test_tiles_far_larger_than_the_image() -> None:
    with pytest.raises(UndecodableImage, match="tiles of 262144 x 16"):
        decode_image(bombs.wide_tiles(100))
    assert decode_image(bombs.wide_tiles(2, 256)).shape == (32, 16, 3)
    with pytest.raises(UndecodableImage, match="no size"):
        decode_image(bombs.tiff({256: [8], 257: [8], 322: [0], 323: [16]}, bytes(64)))


def test_a_jpeg_in_a_tiff_has_its_scans_counted() -> None:
    data = bombs.many_scans(101, 16)
    fields = {256: [16], 257: [16], 259: [7], 273: [8], 278: [16], 279: [len(data)]}
    with pytest.raises(UndecodableImage, match="more than 100"):
        decode_image(bombs.tiff(fields, data))


def test_a_size_of_64_bits_does_not_hide_the_pixels() -> None:
    fields = {256: [20_000], 257: [20_000], 273: [8], 278: [20_000], 279: [64]}
    with pytest.raises(UndecodableImage, match="in its header"):
        decode_image(bombs.tiff(fields, bytes(64), types={256: 16, 257: 16}))
