"""The estimate of the work of decoding: bounded in what it reads, in proportion to the time."""

from __future__ import annotations

import io
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import decode_image
from pipeline.stages.work import estimated_megapixels, is_surely_quick
from protocol.errors import ServingError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "fuzz"))
import image_bombs as bombs

SIDE = 1000


def photo(side: int = SIDE) -> np.ndarray:
    """Smooth areas and some noise, uint8 [side, side, 3]."""
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (side // 16, side // 16, 3), np.uint8)
    smooth = cv2.resize(rough, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.int16)
    return np.clip(smooth + rng.normal(0, 6, smooth.shape), 0, 255).astype(np.uint8)


def opencv(suffix: str, image: np.ndarray, *options: int) -> bytes:
    done, data = cv2.imencode(suffix, image, list(options))
    assert done
    return bytes(data.tobytes())


def pillow(image: np.ndarray, name: str, mode: str = "RGB", **options: object) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image[:, :, ::-1]).convert(mode).save(out, name, **options)
    return out.getvalue()


PHOTO = photo()
DEEP = PHOTO.astype(np.uint16) * 257
WITH_ALPHA = np.dstack([PHOTO, PHOTO[:, :, :1]])
KINDS: dict[str, Callable[[], bytes]] = {
    "flat JPEG": lambda: opencv(".jpg", np.full_like(PHOTO, 90)),
    "finest JPEG": lambda: pillow(PHOTO, "JPEG", quality=100, subsampling=0),
    "grey JPEG": lambda: opencv(".jpg", PHOTO[:, :, 0], cv2.IMWRITE_JPEG_QUALITY, 90),
    "CMYK JPEG": lambda: pillow(PHOTO, "JPEG", "CMYK", quality=90),
    "progressive JPEG": lambda: opencv(".jpg", PHOTO, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    "JPEG of restarts": lambda: opencv(".jpg", PHOTO, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
    "JPEG of 100 scans": lambda: bombs.many_scans(100, SIDE),
    "PNG": lambda: opencv(".png", PHOTO),
    "flat PNG": lambda: opencv(".png", np.full_like(PHOTO, 90)),
    "grey PNG": lambda: opencv(".png", PHOTO[:, :, 0]),
    "PNG of 16 bits": lambda: opencv(".png", DEEP),
    "PNG of 16 bits and alpha": lambda: opencv(".png", WITH_ALPHA.astype(np.uint16) * 257),
    "palette PNG": lambda: pillow(PHOTO, "PNG", "P"),
    "1-bit PNG": lambda: pillow(PHOTO, "PNG", "1"),
    "WebP": lambda: opencv(".webp", PHOTO, cv2.IMWRITE_WEBP_QUALITY, 80),
    "finest WebP": lambda: opencv(".webp", PHOTO, cv2.IMWRITE_WEBP_QUALITY, 100),
    "lossless WebP": lambda: pillow(PHOTO, "WEBP", lossless=True, method=0),
    "WebP with alpha": lambda: opencv(".webp", WITH_ALPHA, cv2.IMWRITE_WEBP_QUALITY, 80),
    "BMP": lambda: opencv(".bmp", PHOTO),
    "TIFF": lambda: pillow(PHOTO, "TIFF"),
    "LZW TIFF": lambda: pillow(PHOTO, "TIFF", compression="tiff_lzw"),
    "Deflate TIFF": lambda: pillow(PHOTO, "TIFF", compression="tiff_adobe_deflate"),
    "JPEG TIFF": lambda: pillow(PHOTO, "TIFF", compression="jpeg"),
    "fax TIFF": lambda: pillow(PHOTO, "TIFF", "1", compression="group4"),
    "TIFF of 16 bits": lambda: opencv(".tiff", DEEP),
}


def seconds(data: bytes) -> float:
    """The computing time of decoding, the shortest of three."""

    def once() -> float:
        began = time.process_time()
        decode_image(data)
        return time.process_time() - began

    return min(once() for _ in range(3))


@pytest.fixture(scope="module")
def seconds_a_megapixel() -> float:
    """What a service learns from ordinary photos."""
    data = opencv(".jpg", PHOTO, cv2.IMWRITE_JPEG_QUALITY, 90)
    seconds(data)
    return seconds(data) / estimated_megapixels(data)


def test_the_unit_is_a_megapixel_of_a_plain_photo() -> None:
    data = opencv(".jpg", PHOTO, cv2.IMWRITE_JPEG_QUALITY, 90)
    assert estimated_megapixels(data) == pytest.approx(SIDE * SIDE / 1e6, rel=0.3)


@pytest.mark.parametrize("kind", KINDS)
def test_time_is_in_proportion_to_the_estimate(kind: str, seconds_a_megapixel: float) -> None:
    data = KINDS[kind]()
    expected = estimated_megapixels(data) * seconds_a_megapixel
    # Measured within a factor of 2 on an idle machine; a busy one favours one kind or another.
    assert expected / 20 < seconds(data) < expected * 6


def test_what_has_no_header_has_no_work() -> None:
    whole = [seed for kind in ("PNG", "WebP", "BMP") for seed in [KINDS[kind]()[:12]]]
    for data in (b"", b"\xff\xd8\xff", b"GIF89a" + bytes(100), b"II*\0" + bytes(4), *whole):
        assert estimated_megapixels(data) == 0


def test_any_bytes_have_an_estimate_that_is_a_number() -> None:
    rng = np.random.default_rng(5)
    small = np.ascontiguousarray(PHOTO[:24, :31])
    starts = [opencv(suffix, small) for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff")]
    for start in [*starts, *bombs.seeds()]:
        for _ in range(100):
            data = bytearray(start)
            for _ in range(int(rng.integers(1, 6))):
                data[int(rng.integers(0, min(len(data), 200)))] = int(rng.integers(0, 256))
            assert 0 <= estimated_megapixels(bytes(data[: int(rng.integers(1, len(data)))])) < 1e12


def test_an_image_that_is_decoded_has_work() -> None:
    for data in bombs.seeds():
        try:
            decode_image(data)
        except ServingError:
            continue
        assert estimated_megapixels(data) > 0


def test_blocks_that_stick_out_of_a_narrow_image_are_counted() -> None:
    wide = bombs.many_scans(1, 64)
    narrow = wide.replace(struct.pack(">HH", 64, 64), struct.pack(">HH", 64, 1), 1)
    assert estimated_megapixels(narrow) > estimated_megapixels(wide) / 9


@pytest.mark.parametrize(
    ("data", "quick"),
    [
        (opencv(".jpg", PHOTO), True),
        (opencv(".jpg", photo(400), cv2.IMWRITE_JPEG_PROGRESSIVE, 1), True),
        (opencv(".jpg", PHOTO)[:300], True),  # the header alone: it fails at once
        (bombs.many_scans(100, 2000), False),
        (opencv(".png", PHOTO), False),
        (opencv(".jpg", photo(3000)), False),
        (b"", False),
        (b"\xff\xd8\xff", False),
    ],
    ids=["JPEG", "progressive", "cut off", "100 scans", "PNG", "large", "empty", "beginning"],
)
def test_only_small_jpegs_are_surely_quick(data: bytes, quick: bool) -> None:
    assert is_surely_quick(data) is quick


def test_an_arithmetic_jpeg_is_not_surely_quick() -> None:
    data = bytearray(opencv(".jpg", PHOTO))
    frame = data.index(b"\xff\xc0")
    data[frame + 1] = 0xC9
    assert not is_surely_quick(bytes(data))
