"""Wrong input, made on purpose, with the error numbers (err_no) that are right for it."""

from __future__ import annotations

import json
import struct
import zlib
from base64 import b64encode

from .wire import HttpMessage


def declared_png(width: int, height: int) -> bytes:
    """Return a PNG whose header declares a size, but holds only a few pixels."""
    return _png(struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0), bytes(1000))


def white_png(side: int) -> bytes:
    """Return a complete white PNG of one bit per pixel: decoded it has 10,000 times its size."""
    rows = (b"\0" + b"\xff" * (-(-side // 8))) * side
    return _png(struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0), rows)


def _png(header: bytes, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)

    pixels = chunk(b"IDAT", zlib.compress(rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def bad_images(good: bytes) -> dict[str, tuple[bytes, frozenset[int]]]:
    """Return bytes that are not an image, by what they are."""
    undecodable, large = frozenset({5001}), frozenset({5002})
    return {
        "text": (b"this is no image", undecodable),
        "a cut-off image": (good[: len(good) // 3], undecodable),
        "a header without an image": (good[:64], undecodable),
        "a PNG of 60,000 x 60,000": (declared_png(60000, 60000), large),
        "a PNG that ends early": (declared_png(200, 200), undecodable),
    }


def bad_followers(good: bytes) -> dict[str, tuple[bytes, frozenset[int]]]:
    """Return bytes to send behind a right request that are not a request, by their fault."""
    long_head = b"POST /first/prediction HTTP/1.1\r\nA: " + 40_000 * b"a" + b"\r\n\r\n"
    return {
        "bytes that are no HTTP": (b"\0\0garbage\r\n\r\n", frozenset({5000})),
        "an image without a head": (good, frozenset({5000})),
        "a head over the limit": (long_head, frozenset({5002})),
        "CONNECT": (b"CONNECT somewhere:1 HTTP/1.1\r\n\r\n", frozenset({3000})),
    }


def bad_messages(
    service: str, good: bytes, max_body_mb: int
) -> dict[str, tuple[HttpMessage, frozenset[int]]]:
    """Return wrong HTTP requests by what is wrong, for a service that reads `max_body_mb` MiB."""
    path = f"/{service}/prediction"
    invalid = frozenset({5000})
    sound = {"key": ["image"], "value": [b64encode(good).decode()]}
    large = bytes(max_body_mb * 2**20 + 1)
    jpeg = (("Content-Type", "image/jpeg"),)
    return {
        "no JSON": (HttpMessage(path, b"{"), invalid),
        "no envelope": (HttpMessage(path, b"[1]"), invalid),
        "bad base64": (
            HttpMessage(path, json.dumps({**sound, "value": ["*" * 9]}).encode()),
            invalid,
        ),
        "keys without values": (
            HttpMessage(path, json.dumps({**sound, "value": []}).encode()),
            invalid,
        ),
        "an empty body": (HttpMessage(path, b"", jpeg), invalid),
        "a bad option": (HttpMessage(f"{path}?topk=none", good, jpeg), invalid),
        "a body over the limit": (HttpMessage(path, large, jpeg), frozenset({5002})),
        "an unknown service": (HttpMessage("/nobody/prediction", good, jpeg), frozenset({3002})),
        "a wrong method": (HttpMessage(path, b"", method="GET"), frozenset({3000})),
    }
