"""Small images of every kind that is read, and mutations of them that change headers."""

from __future__ import annotations

import io
import random
import struct
import zlib
from typing import Any

import cv2
import image_bombs as bombs
import numpy as np

SIDE = 24
# What has a meaning in some header: sizes at limits, marks, tags, counts.
WORDS = [
    *[bytes([n]) for n in (0, 1, 2, 4, 8, 16, 0x7F, 0x80, 0xFF)],
    *[struct.pack(order + "H", n) for order in "<>" for n in (0, 1, 8, 255, 2**15, 2**16 - 1)],
    *[struct.pack(order + "I", n) for order in "<>" for n in (0, 1, 24, 2**16, 2**31, 2**32 - 1)],
]
MARKS = [
    *[b"\xff" + bytes([n]) for n in (0, 1, 0xC0, 0xC2, 0xC4, 0xC9, 0xCA, 0xD0, 0xD8, 0xD9)],
    *[b"\xff" + bytes([n]) for n in (0xDA, 0xDB, 0xDC, 0xDD, 0xE0, 0xE1, 0xEE, 0xFE, 0xFF)],
    b"\xff\xda\x00\x08\x01\x01\x00\x00\x00\x00",
    b"\xff\xc0\x00\x0b\x08\x00\x40\x00\x40\x01\x01\x11\x00",
    b"\xff\xc2\x00\x0b\x08\x01\x40\x00\x40\x01\x01\x11\x00",
    bombs.chunk(b"IHDR", struct.pack(">IIBBBBB", 64, 200, 8, 2, 0, 0, 0)),
    bombs.chunk(b"IDAT", zlib.compress(bytes(500))),
    bombs.chunk(b"IEND"),
    bombs.chunk(b"tRNS", bytes(6)),
    bombs.chunk(b"PLTE", bytes(range(48))),
    bombs.chunk(b"acTL", struct.pack(">II", 2, 0)),
    bombs.chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 24, 24, 0, 0, 1, 10, 0, 0)),
    b"VP8 ",
    b"VP8L",
    b"VP8X\x0a\0\0\0\x12\0\0\0\x17\0\0\x17\0\0",
    b"ANMF",
    b"ALPH",
    b"ANIM\x06\0\0\0\0\0\0\0\0\0",
    *[struct.pack("<HHII", tag, 4, 1, n) for tag in (256, 257, 278, 322, 323) for n in (1, 80)],
    *[struct.pack("<HHII", tag, 3, 1, n) for tag in (259, 262, 277, 284) for n in (1, 2, 6, 7)],
]


def _opencv(suffix: str, image: np.ndarray, *options: int) -> bytes:
    return bytes(cv2.imencode(suffix, image, list(options))[1].tobytes())


def _pillow(image: np.ndarray, name: str, mode: str = "RGB", **options: Any) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).convert(mode).save(out, name, **options)
    return out.getvalue()


def kinds() -> list[bytes]:
    """Return one image of 24 x 24 of each kind."""
    y, x = np.mgrid[0:SIDE, 0:SIDE]
    noise = np.random.default_rng(7).integers(0, 40, (SIDE, SIDE, 3))
    image = (np.stack([x * 8, y * 8, x + y], axis=-1) + noise).astype(np.uint8)
    deep = image.astype(np.uint16) * 257
    alpha = np.dstack([image, image[:, :, :1]])
    quality, progressive = cv2.IMWRITE_JPEG_QUALITY, cv2.IMWRITE_JPEG_PROGRESSIVE
    found = [_opencv(suffix, image) for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff")]
    found += [
        _opencv(".jpg", image, quality, 60, progressive, 1),
        _opencv(".jpg", image, cv2.IMWRITE_JPEG_RST_INTERVAL, 1),
        _opencv(".png", deep),
        _opencv(".png", np.dstack([deep, deep[:, :, :1]])),
        _opencv(".png", image[:, :, 0]),
        _opencv(".webp", alpha, cv2.IMWRITE_WEBP_QUALITY, 80),
        _opencv(".tiff", deep),
    ]
    found += [
        _pillow(image, "JPEG", "CMYK"),
        _pillow(image, "JPEG", subsampling=0),
        _pillow(image, "PNG", "P"),
        _pillow(image, "PNG", "1"),
        _pillow(image, "PNG", "LA"),
        _pillow(image, "BMP", "P"),
        _pillow(image, "BMP", "1"),
        _pillow(image, "WEBP", lossless=True),
        *[
            _pillow(image, "TIFF", mode, compression=compression, **more)
            for mode, compression, more in (
                ("RGB", "raw", {}),
                ("RGB", "raw", {"strip_size": 200}),
                ("RGB", "raw", {"big_tiff": True}),
                ("RGB", "tiff_lzw", {}),
                ("RGBA", "tiff_adobe_deflate", {}),
                ("RGB", "jpeg", {}),
                ("L", "packbits", {}),
                ("P", "tiff_lzw", {}),
                ("CMYK", "raw", {}),
                ("1", "group4", {}),
            )
        ],
        _animated(image, "WEBP"),
        _animated(image, "PNG"),
        _run_lengths(),
    ]
    return found


def _animated(image: np.ndarray, name: str) -> bytes:
    from PIL import Image

    frames = [Image.fromarray(np.roll(image, shift, 0)) for shift in range(3)]
    out = io.BytesIO()
    frames[0].save(out, name, save_all=True, append_images=frames[1:])
    return out.getvalue()


def _run_lengths() -> bytes:
    """Return a BMP of 8 bits in run lengths."""
    palette = b"".join(bytes([n, n, n, 0]) for n in range(256))
    codes = b"\x0c\x07\x00\x0c" + bytes(range(12)) + b"\0\0"
    codes = codes * SIDE + b"\0\2\1\0\0\1"
    start = 54 + len(palette)
    head = struct.pack("<IiiHHIIiiII", 40, SIDE, SIDE, 1, 8, 1, len(codes), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", start + len(codes), 0, 0, start) + head + palette + codes


def mutated(seed: bytes, rng: random.Random, others: list[bytes]) -> bytes:
    """Return `seed` with some changes, most of them near its beginning or its end."""
    data = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3, 5))):
        reach = rng.choice((40, 120, 400, len(data)))
        at = rng.randrange(min(reach, len(data)) + 1)
        if rng.random() < 0.2:
            at = len(data) - at
        how = rng.randrange(7)
        word = rng.choice(WORDS if rng.random() < 0.5 else MARKS)
        if how <= 1:
            data[at : at + len(word)] = word
        elif how == 2:
            data[at:at] = word
        elif how == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 4:
            del data[at : at + rng.choice((1, 2, 4, 12, 50))]
        elif how == 5:
            length = rng.choice((2, 4, 12, 20, 60))
            source = rng.randrange(len(data) + 1)
            data[at:at] = data[source : source + length] * rng.choice((1, 1, 1, 30))
        else:
            other = rng.choice(others)
            start = rng.randrange(len(other) + 1)
            data[at:at] = other[start : start + rng.choice((4, 12, 60, len(other)))]
    return bytes(_mended(data) if data[:4] == b"\x89PNG" and rng.random() < 0.8 else data)


def _mended(data: bytearray) -> bytearray:
    """Give each chunk of a PNG the checksum of what it holds now."""
    position = 8
    while position + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, position)
        end = position + 12 + length
        if end > len(data):
            break
        checksum = zlib.crc32(data[position + 4 : end - 4])
        data[end - 4 : end] = struct.pack(">I", checksum)
        position = end
    return data
