from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline.stages.decode import DecodeLimits, decode_image
from pipeline.stages.formats import webp
from pipeline.stages.formats.image_format import format_of
from protocol.errors import ServingError, TooLarge, UndecodableImage

SUFFIXES = [".jpg", ".png", ".bmp", ".webp", ".tiff"]
NAMES = ["JPEG", "PNG", "BMP", "WebP", "TIFF"]


def opencv(data: bytes) -> np.ndarray:
    """What PaddleClas' cv2.imread and Paddle Serving's sample decode."""
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1]


@pytest.mark.parametrize(("suffix", "name"), list(zip(SUFFIXES, NAMES, strict=True)))
def test_every_format_is_read_as_opencv_reads_it(encode: Any, suffix: str, name: str) -> None:
    data = encode(suffix)
    image_format = format_of(data)
    assert image_format is not None
    assert (image_format.NAME, image_format.size(data)) == (name, (83, 61))
    decoded = decode_image(data)
    assert (decoded.dtype, decoded.shape) == (np.uint8, (61, 83, 3))
    assert np.array_equal(decoded, opencv(data))


@pytest.mark.parametrize("quality", [1, 64])
def test_both_kinds_of_webp_are_measured(image: np.ndarray, quality: int) -> None:
    for lossless in (quality, 101):
        data = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, lossless])[1].tobytes()
        assert webp.size(data) == (83, 61)


def test_grey_alpha_and_16_bits(image: np.ndarray) -> None:
    alpha = np.dstack([image, np.full(image.shape[:2], 9, np.uint8)])
    for kind in (image[:, :, 0], alpha, image.astype(np.uint16) * 257):
        data = cv2.imencode(".png", kind)[1].tobytes()
        decoded = decode_image(data)
        assert (decoded.dtype, decoded.shape) == (np.uint8, (61, 83, 3))
        assert np.array_equal(decoded, opencv(data))


def test_cmyk(cmyk_jpeg: bytes) -> None:
    assert np.array_equal(decode_image(cmyk_jpeg), opencv(cmyk_jpeg))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(exif_jpeg: Any, orientation: int) -> None:
    data = exif_jpeg(orientation)
    decoded = decode_image(data)
    assert decoded.shape[:2] == ((83, 61) if orientation > 4 else (61, 83))
    assert np.array_equal(decoded, opencv(data))


def test_one_pixel() -> None:
    data = cv2.imencode(".png", np.full((1, 1, 3), 7, np.uint8))[1].tobytes()
    assert decode_image(data).tolist() == [[[7, 7, 7]]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "0 bytes"),
        (b"hello there", "looks like text"),
        ("垃圾分类".encode(), "looks like text"),
        (b"GIF89a" + bytes(20), "a GIF"),
        (b"%PDF-1.7", "a PDF document"),
        (b"<!doctype html>", "an HTML page"),
        (b"<svg xmlns=", "an SVG drawing"),
        (b"\xef\xbb\xbf<?xml version='1.0'?><svg xmlns=", "an SVG drawing"),
        (b"<?xml version='1.0'?><note/>", "XML text"),
        (b"\0\0\0\x18ftypheic" + bytes(20), "a HEIC"),
        (b"\0\0\0\x18ftypmif1" + bytes(20), "a HEIC or AVIF"),
        (b"\0\0\0\x18ftypavif" + bytes(20), "an AVIF"),
        (b"\0\0\0\x18ftypisom" + bytes(20), "a video"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000"),
        (b"\xff\x4f\xff\x51\0\x2f", "a JPEG 2000"),
        (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL"),
        (b"\xff\x0a\xfa\x7f", "a JPEG XL"),
        (b"\xff\xd8\xff\xf7\0\x0b", "a JPEG-LS"),
        (b"II\xbc\x01\x20\0\0\0", "a JPEG XR"),
        (b"8BPS\0\x01", "PSD"),
        (bytes(18) + b"pixels" + bytes(8) + b"TRUEVISION-XFILE.\0", "a TGA"),
        (b"/* XPM */\nstatic", "an XPM"),
        (b"\0\0\x01\0\x01\0", "an icon"),
        (b"P6\n17 12\n255\n" + bytes(9), "a Netpbm image"),
        (b"Pf\n8 8\n-1.0\n", "a Netpbm image"),
        (b"P1 is the first of us", "looks like text"),
        (b"v/1\x01\x02\0\0\0", "an OpenEXR"),
        (b"#?RADIANCE\n", "a Radiance HDR"),
        (bytes(128) + b"DICM", "a DICOM file"),
        (bytes(100), "nothing but zero bytes"),
        (b"\x80\x04\x95\x10\0\0\0", "a Python pickle"),
        (b"\x93NUMPY\1\0", "a numpy array"),
        (b"\xde\xad\xbe\xef" * 9, "no known image format"),
        (b"\xff\xd8\xff", "cut off in its header"),
        (b"\x89PNG\r\n\x1a\n", "cut off in its header"),
    ],
)
def test_data_that_is_no_image_is_named(data: bytes, message: str) -> None:
    with pytest.raises(UndecodableImage) as caught:
        decode_image(data)
    assert message in str(caught.value)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp"])
def test_a_cut_off_image_is_an_error_not_a_grey_half(encode: Any, suffix: str) -> None:
    data = encode(suffix)
    for share in (0.3, 0.6, 0.9, 0.99):
        with pytest.raises(UndecodableImage):
            decode_image(data[: int(len(data) * share)])


def test_bytes_after_the_end_are_fine(encode: Any) -> None:
    for suffix in (".jpg", ".png"):
        assert decode_image(encode(suffix) + bytes(100)).shape == (61, 83, 3)


def test_the_pixel_limit_is_kept_before_anything_is_decoded(png_of_size: Any) -> None:
    with pytest.raises(TooLarge, match="20000 x 20000"):
        decode_image(png_of_size(20000, 20000))
    with pytest.raises(TooLarge):
        decode_image(png_of_size(101, 100), DecodeLimits(max_pixels=10_000))
    # Within the limit the header is believed, and the missing pixels are found by decoding.
    with pytest.raises(UndecodableImage, match="damaged"):
        decode_image(png_of_size(300, 300))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damage_of_any_kind_ends_in_an_answer(encode: Any, suffix: str) -> None:
    data = encode(suffix)
    rng = np.random.default_rng(1)
    limits = DecodeLimits(max_pixels=200_000)
    damaged = [data[:size] for size in range(0, len(data), max(1, len(data) // 60))]
    for _ in range(150):
        copy = bytearray(data)
        # Most hits go where the structure is: into the first bytes.
        for position in rng.integers(
            0, min(len(copy), 120 if rng.random() < 0.7 else len(copy)), 3
        ):
            copy[position] = rng.integers(0, 256)
        damaged.append(bytes(copy))
    for case in damaged:
        with contextlib.suppress(ServingError):  # anything else would be a crash in service
            assert decode_image(case, limits).shape[2] == 3


def test_fast_decoding_keeps_twice_the_size_that_is_needed() -> None:
    y, x = np.mgrid[0:800, 0:1200]
    photo = np.stack([x // 5, y // 4, (x + y) // 9], axis=-1).astype(np.uint8)
    data = cv2.imencode(".jpg", photo)[1].tobytes()
    sizes = {
        reduce_to: decode_image(data, DecodeLimits(reduce_to=reduce_to)).shape[:2]
        for reduce_to in (None, 50, 100, 200, 256)
    }
    assert sizes == {
        None: (800, 1200),
        50: (100, 150),
        100: (200, 300),
        200: (400, 600),
        256: (800, 1200),
    }


@pytest.mark.parametrize(
    ("mode", "compression"),
    [
        ("RGB", "tiff_lzw"),
        ("RGB", "tiff_adobe_deflate"),
        ("RGB", "packbits"),
        ("RGB", "jpeg"),
        ("1", "group3"),
        ("1", "group4"),
        ("L", None),
        ("P", None),
        ("RGBA", None),
        ("CMYK", None),
    ],
)
def test_a_tiff_of_many_strips_is_read_as_opencv_reads_it(
    image: np.ndarray, mode: str, compression: str | None
) -> None:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes these")
    out = io.BytesIO()
    pillow.fromarray(np.tile(image, (12, 12, 1))).convert(mode).save(
        out, "TIFF", compression=compression
    )
    assert np.array_equal(decode_image(out.getvalue()), opencv(out.getvalue()))


@pytest.mark.parametrize("size", [(1, 65_536), (65_536, 1), (40_000_000, 1)])
def test_a_side_that_is_too_long(
    size: tuple[int, int], png_of_size: Callable[[int, int], bytes]
) -> None:
    """Pillow's filters take memory by the length of a side: for 50 million pixels, 2 GB."""
    with pytest.raises(TooLarge, match="a side of at most 65,535"):
        decode_image(png_of_size(*size))
