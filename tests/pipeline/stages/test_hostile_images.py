"""Images that are made, by accident or on purpose, to slip through the checks of the header."""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.formats import png, png_inflation
from pipeline.stages.formats.image_format import format_of
from protocol.errors import TooLarge, UndecodableImage

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))
import image_bombs as bombs


@pytest.mark.parametrize("suffix", [".bmp", ".tiff"])
def test_formats_without_an_end_mark_are_not_read_by_half(
    encode: Callable[[str], bytes], suffix: str
) -> None:
    data = encode(suffix)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(UndecodableImage):
            decode_image(data[: int(len(data) * share)])


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


def test_texts_and_profiles_of_a_png_never_reach_opencv(capfd: pytest.CaptureFixture[str]) -> None:
    bomb = bombs.text_bomb(100)
    assert len(bomb) > 500_000
    # All that OpenCV gets: what it would inflate to 800 MB is gone, and the forged line of a log.
    assert png.guard(bomb, 8, 8) == bombs.png()
    assert decode_image(bomb).shape == (8, 8, 3)
    assert capfd.readouterr() == ("", "")


def test_pixel_data_behind_the_pixels_is_not_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = bombs.endless_pixels(200)
    # All that libpng gets to inflate is the rows: 8 x 8 in colour, and their filters.
    assert zlib.decompress(pixel_data(png.guard(endless, 8, 8))) == bytes(8 * 25)
    assert decode_image(endless).shape == (8, 8, 3)
    monkeypatch.setattr(png_inflation, "_IN_MEMORY", 0)  # as if it was large
    with pytest.raises(UndecodableImage, match="far behind its pixels"):
        decode_image(endless)
    assert decode_image(bombs.endless_pixels(1)).shape == (8, 8, 3)


def pixel_data(data: bytes) -> bytes:
    """The content of all IDATs."""
    return b"".join(data[start:end] for start, end in png._pixel_data(data))


@pytest.mark.parametrize("interlaced", [False, True])
def test_what_opencv_gets_of_a_png_is_its_rows_and_no_more(
    interlaced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png_inflation, "_AFFORDABLE", -(2**60))
    for depth, colours in ((8, 2), (16, 6), (1, 0), (8, 3), (2, 3), (16, 4)):
        data = bombs.noisy_png(21, 13, depth, colours, interlaced=interlaced)
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert pixels is not None
        assert np.array_equal(decode_image(data), pixels[:, :, ::-1])
        rows = zlib.decompress(pixel_data(data))
        longer = bombs.noisy_png(21, 13, depth, colours, interlaced=interlaced, extra=5000)
        assert zlib.decompress(pixel_data(png.guard(longer, 21, 13))) == rows
        assert np.array_equal(decode_image(longer), pixels[:, :, ::-1])


def test_a_png_of_very_many_chunks_is_refused() -> None:
    assert decode_image(bombs.png(bombs.chunk(b"tEXt", b"a\0b") * 19_000)).shape == (8, 8, 3)
    for kind in (b"tEXt", b"IDAT"):
        with pytest.raises(UndecodableImage, match="more than 20,000 chunks"):
            decode_image(bombs.png(bombs.chunk(kind) * 21_000))


@pytest.mark.parametrize("at", [-20, -14])
def test_a_large_png_with_a_wrong_checksum_is_damaged(
    at: int, encode: Callable[[str], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(png_inflation, "_AFFORDABLE", -(2**60))
    data = bytearray(encode(".png"))
    data[at] ^= 1
    with pytest.raises(UndecodableImage, match="damaged"):
        decode_image(bytes(data))


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
