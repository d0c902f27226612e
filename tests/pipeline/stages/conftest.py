"""Images of every kind, made here."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import cv2
import numpy as np
import pytest


@pytest.fixture
def image() -> np.ndarray:
    """A smooth colour image, uint8 [61, 83, 3] BGR: odd sizes, no two corners alike."""
    y, x = np.mgrid[0:61, 0:83]
    return np.stack([x * 3, y * 4, 255 - x * 2 - y], axis=-1).astype(np.uint8)


@pytest.fixture
def encode(image: np.ndarray) -> Callable[[str], bytes]:
    """A function: file suffix -> the image in that format."""

    def encoded(suffix: str) -> bytes:
        done, data = cv2.imencode(suffix, image)
        assert done
        return bytes(data.tobytes())

    return encoded


@pytest.fixture
def exif_jpeg(image: np.ndarray) -> Callable[[int], bytes]:
    """A function: EXIF orientation -> JPEG that says it."""
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes the EXIF data")

    def encoded(orientation: int) -> bytes:
        out = io.BytesIO()
        pillow_image = pillow.fromarray(image[:, :, ::-1])
        exif = pillow_image.getexif()
        exif[0x0112] = orientation
        pillow_image.save(out, "JPEG", exif=exif, quality=95)
        return out.getvalue()

    return encoded


@pytest.fixture
def cmyk_jpeg(image: np.ndarray) -> bytes:
    pillow = pytest.importorskip("PIL.Image", reason="Pillow writes CMYK")
    out = io.BytesIO()
    pillow.fromarray(image[:, :, ::-1]).convert("CMYK").save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture
def png_of_size() -> Callable[[int, int], bytes]:
    """A function: width, height -> a small PNG that says it is that large."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    def encoded(width: int, height: int) -> bytes:
        head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
        data = zlib.compress(bytes(1000))
        signature = b"\x89PNG\r\n\x1a\n"
        return signature + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")

    return encoded
