"""Images that are small as files and large to decode."""

from __future__ import annotations

import struct
import zlib


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(side: int) -> bytes:
    """Return a right PNG of `side` x `side` black pixels in three colours."""
    deflate = zlib.compressobj(1)
    row = b"\0" + bytes(3 * side)
    pixels = b"".join(deflate.compress(row) for _ in range(side)) + deflate.flush()
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = _chunk(b"IHDR", header) + _chunk(b"IDAT", pixels) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def segment(marker: int, data: bytes) -> bytes:
    """Return a segment of a JPEG."""
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def progressive(side: int, scans: int, before_frame: bytes = b"", *, frame: int = 0xC2) -> bytes:
    """Return a grey progressive JPEG: a scan of the blocks' means, the others refine nothing.

    `frame` is the marker of its frame, which says how it claims to be coded.
    """
    blocks = ((side + 7) // 8) ** 2
    start = b"\xff\xd8" + segment(0xDB, b"\0" + b"\1" * 64) + before_frame
    start += segment(frame, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    # One code a table, "0": no difference to the last mean; the end of up to 32767 blocks.
    start += segment(0xC4, b"\x00\x01" + bytes(15) + b"\x00")
    start += segment(0xC4, b"\x10\x01" + bytes(15) + b"\xe0")
    means = segment(0xDA, b"\1\1\0" + b"\0\0\0") + bytes((blocks + 7) // 8)
    bits = ("0" + "1" * 14) * -(-blocks // 32767)
    bits += "1" * (-len(bits) % 8)
    ends = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\0")
    nothing = segment(0xDA, b"\1\1\0" + b"\x01\x3f\0") + ends
    return start + means + nothing * (scans - 1) + b"\xff\xd9"


def hidden_progressive(side: int, scans: int) -> bytes:
    """Return such a JPEG behind FF 00 and a length: a careless walk skips its frame.

    The walk then finds a comment that holds a small baseline frame; libjpeg skips FF 00, reads on,
    and finds the large progressive one.
    """
    frame = segment(0xC2, struct.pack(">BHHB", 8, side, side, 1) + b"\1\x11\0")
    comment = segment(0xFE, segment(0xC0, struct.pack(">BHHB", 8, 16, 16, 1) + b"\1\x11\0"))
    trick = b"\xff\x00" + struct.pack(">H", 2 + len(frame) + 4)
    whole = progressive(side, scans)
    return whole.replace(frame, trick + frame + comment, 1)


def tiff(side: int, strips: int) -> bytes:
    """Return a TIFF of `side` x `side` in `strips` strips that are the same bytes of the file."""
    rows = -(-side // strips)
    pixels = zlib.compress(bytes(side * rows), 9)
    pixels += bytes(len(pixels) % 2)
    offsets = struct.pack(f"<{strips}I", *[8] * strips)
    counts = struct.pack(f"<{strips}I", *[len(pixels)] * strips)
    arrays = 8 + len(pixels)
    fields = {256: side, 257: side, 258: 8, 259: 8, 262: 1, 277: 1, 278: rows}
    several = {273: arrays, 279: arrays + len(offsets)}
    entries = b"".join(
        struct.pack("<HHII", tag, 4, strips if tag in several else 1, (fields | several)[tag])
        for tag in sorted(fields | several)
    )
    directory = struct.pack("<H", len(fields | several)) + entries + bytes(4)
    start = arrays + 2 * len(offsets)
    head = b"II*\0" + struct.pack("<I", start)
    return head + pixels + offsets + counts + directory


def texts(count: int, size: int = 7_900_000) -> bytes:
    """Return a PNG of one pixel with compressed texts that unpack to `size` bytes each."""
    inflated = zlib.compress(b"a" * size, 9)
    header = _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    body = header + _chunk(b"zTXt", b"k\0\0" + inflated) * count
    body += _chunk(b"IDAT", zlib.compress(bytes(4))) + _chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body
