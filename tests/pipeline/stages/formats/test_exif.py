"""The orientation of a WebP or PNG, with and without the mark that JPEGs have before EXIF data."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from pipeline.stages.decode import decode_image
from pipeline.stages.formats import png, webp
from protocol.errors import UndecodableImage

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "fuzz"))
import image_bombs as bombs

MARK = b"Exif\0\0"
# Pillow knows the mark twice in a WebP only.
KINDS = [("webp", b""), ("webp", MARK), ("webp", MARK * 2), ("png", b""), ("png", MARK)]


def exif(orientation: int, size: int = 26) -> bytes:
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    return (b"MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)).ljust(size, b"\0")


def webp_with(image: np.ndarray, *chunks: tuple[bytes, bytes]) -> bytes:
    pixels = cv2.imencode(".webp", image, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()[12:]
    height, width = image.shape[:2]
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([8, 0, 0, 0]) + canvas + pixels
    for kind, content in chunks:
        body += kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def png_with(image: np.ndarray, content: bytes) -> bytes:
    data = cv2.imencode(".png", image)[1].tobytes()
    return data[:33] + bombs.chunk(b"eXIf", content) + data[33:]


def upright(data: bytes) -> np.ndarray:
    """The image as Pillow shows it."""
    image = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("kind", "mark"), KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_counts_whatever_stands_before_it(
    image: np.ndarray, kind: str, orientation: int, mark: bytes, capfd: pytest.CaptureFixture[str]
) -> None:
    content = mark + exif(orientation)
    data = png_with(image, content) if kind == "png" else webp_with(image, (b"EXIF", content))
    decoded = decode_image(data)
    assert decoded.shape[:2] == ((83, 61) if orientation > 4 else (61, 83))
    assert np.array_equal(decoded, upright(data))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("size", [26, 27])
def test_what_follows_the_exif_data_of_a_webp_stays(image: np.ndarray, size: int) -> None:
    chunks = [(b"XMP ", b"<x/>"), (b"EXIF", exif(6, size)), (b"EXIF", b"odd"), (b"XMP ", b"<yy/>")]
    marked = [(kind, (MARK if kind == b"EXIF" else b"") + content) for kind, content in chunks]
    plain = webp_with(image, *chunks)
    assert webp.guard(webp_with(image, *marked), 83, 61) == plain
    assert webp.guard(plain, 83, 61) is plain
    # Cameras pad their files.
    assert webp.guard(webp_with(image, *marked) + b"pad", 83, 61) == plain + b"pad"


def test_a_png_with_exif_data_keeps_it_once(image: np.ndarray) -> None:
    plain = png_with(image, exif(6))
    twice = plain[:33] + bombs.chunk(b"eXIf", MARK + exif(6)) + plain[33:]
    assert png.guard(twice, 83, 61) == plain
    assert zlib.crc32(b"eXIf" + exif(6)).to_bytes(4, "big") in plain


@pytest.mark.parametrize("content", [b"", MARK, MARK + b"MM"])
def test_exif_data_of_nothing_but_the_mark(image: np.ndarray, content: bytes) -> None:
    for data in (webp_with(image, (b"EXIF", content)), png_with(image, content)):
        assert np.array_equal(decode_image(data), image[:, :, ::-1])


def test_the_mark_does_not_lift_the_limit(image: np.ndarray) -> None:
    with pytest.raises(UndecodableImage, match="bytes of EXIF data"):
        decode_image(webp_with(image, (b"EXIF", MARK + exif(6, 70_000))))
