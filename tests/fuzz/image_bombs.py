"""Small files that cost a decoder far more than their pixels: time, memory or its heap."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping, Sequence

import numpy as np

from reliability.attack.bombs import progressive

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, depth: int = 8, colours: int = 2, row: int = 24) -> bytes:
    """Return a PNG of 8 x 8 with `chunks` before its pixels; `row` is the bytes of a row."""
    header = struct.pack(">IIBBBBB", 8, 8, depth, colours, 0, 0, 0)
    pixels = b"".join(b"\0" + bytes(range(i, i + row)) for i in range(8))
    return b"".join(
        (
            SIGNATURE,
            chunk(b"IHDR", header),
            *chunks,
            chunk(b"IDAT", zlib.compress(pixels)),
            chunk(b"IEND"),
        )
    )


def noisy_png(
    width: int, height: int, depth: int, colours: int, *, interlaced: bool = False, extra: int = 0
) -> bytes:
    """Return a PNG of noise with the filters of all kinds; `extra` bytes follow its pixels."""
    rng = np.random.default_rng(depth)
    bits = depth * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colours]
    passes = [(0, 0, 1, 1)]
    if interlaced:
        passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4)]
        passes += [(1, 0, 2, 2), (0, 1, 1, 2)]
    rows = b""
    for left, top, across, down in passes:
        octets = (len(range(left, width, across)) * bits + 7) // 8
        count = len(range(top, height, down)) if octets else 0
        rows += b"".join(bytes([row % 5]) + rng.bytes(octets) for row in range(count))
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, interlaced)
    palette = chunk(b"PLTE", rng.bytes(3 << min(depth, 8))) if colours == 3 else b""
    pixels = chunk(b"IDAT", zlib.compress(rows + bytes(extra)))
    return SIGNATURE + chunk(b"IHDR", header) + palette + pixels + chunk(b"IEND")


def text_bomb(texts: int, size: int = 7_900_000) -> bytes:
    """Return a PNG with texts, and a profile, that libpng inflates; its limit is 8 MB for each."""
    inflated = zlib.compress(b"a" * size, 9)
    profile = chunk(b"iCCP", b"\n<3>forged\x1b[31m\0\0" + inflated)
    return png(profile, chunk(b"zTXt", b"k\0\0" + inflated) * texts)


def endless_pixels(megabytes: int) -> bytes:
    """Return a PNG of 8 x 8 whose pixel data inflates to that many megabytes."""
    deflate = zlib.compressobj(9)
    pieces = [deflate.compress(bytes(2**20)) for _ in range(megabytes)]
    return png(chunk(b"IDAT", b"".join(pieces) + deflate.flush()))


def declared_end(size: int) -> bytes:
    """Return a PNG whose end mark declares that many bytes."""
    return png()[:-12] + struct.pack(">I", size) + b"IEND\xae\x42\x60\x82"


def grey_animation() -> bytes:
    """Return an APNG in grey: it corrupts the heap of OpenCV 5.0."""
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 8, 8, 0, 0, 1, 10, 0, 0))
    second = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 1, 8, 5, 0, 2, 1, 10, 0, 0))
    pixels = struct.pack(">I", 2) + zlib.compress(bytes(9 * 5))
    animation = chunk(b"acTL", struct.pack(">II", 2, 0)) + frame
    whole = png(animation, colours=0, row=8)
    return whole[:-12] + second + chunk(b"fdAT", pixels) + whole[-12:]


def many_scans(scans: int, side: int, frame: int = 0xC2) -> bytes:
    """Return a progressive grey JPEG: one scan for the blocks' means, the others for nothing."""
    return progressive(side, scans, frame=frame)


def tiff(
    fields: Mapping[int, Sequence[int]],
    pixels: bytes,
    types: Mapping[int, int] | None = None,
    *,
    big: bool = False,
) -> bytes:
    """Return a grey TIFF, or BigTIFF, with `pixels` at 8, or 16.

    Numbers are LONG unless `types` says otherwise.
    """
    offset, entry, first = ("<Q", "<HHQ", 16) if big else ("<I", "<HHI", 8)
    data = bytes(first) + pixels + bytes(len(pixels) % 2)
    entries = b""
    all_fields = {258: [8], 259: [1], 262: [1], 277: [1], 284: [1], **fields}
    for tag, numbers in sorted(all_fields.items()):
        kind = (types or {}).get(tag, 4)
        value = np.asarray(numbers, "<u8" if kind == 16 else "<u4").tobytes()
        if len(value) > struct.calcsize(offset):
            data, value = data + value, struct.pack(offset, len(data))
        entries += struct.pack(entry, tag, kind, len(numbers)) + value.ljust(
            struct.calcsize(offset), b"\0"
        )
    directory = struct.pack("<Q" if big else "<H", len(all_fields)) + entries + bytes(8)
    head = (b"II+\0\x08\0\0\0" if big else b"II*\0") + struct.pack(offset, len(data))
    return head + data[first:] + directory


def shared_strips(strips: int, *, big: bool = False) -> bytes:
    """Return a TIFF whose strips are all the same 64 KiB of the file."""
    size = 2**16
    fields = {256: [8], 257: [strips], 266: [2], 273: [16 if big else 8] * strips, 278: [1]}
    return tiff(fields | {279: [size] * strips}, bytes(size), big=big)


def wide_tiles(tiles: int, across: int = 262_144) -> bytes:
    """Return a TIFF 16 pixels wide with tiles that are far wider, all the same."""
    pixels = zlib.compress(bytes(16 * across), 9)
    fields = {256: [16], 257: [16 * tiles], 259: [8], 322: [across], 323: [16]}
    return tiff(fields | {324: [8] * tiles, 325: [len(pixels)] * tiles}, pixels)


def exif(size: int, entries: int) -> bytes:
    """Return EXIF data whose entries all point at nearly the whole of it."""
    start = 10 + 12 * entries + 4
    entry = struct.pack(">HHII", 0x010E, 2, size - start, start)
    head = b"MM\0*\0\0\0\x08" + struct.pack(">H", entries) + entry * entries + bytes(4)
    return head.ljust(size, b"a")


def seeds() -> list[bytes]:
    """Return a small one of each kind."""
    scans = many_scans(30, 16)
    return [
        text_bomb(2, 2000),
        endless_pixels(1),
        declared_end(2**20),
        grey_animation(),
        png(chunk(b"eXIf", exif(200, 5))),
        scans,
        scans[:20] + b"\xff\x00\x00\x10" + scans[20:],
        scans[:-2] + b"\xff\x02\xff\x00" + scans[-2:],
        many_scans(101, 8),
        shared_strips(9),
        shared_strips(9, big=True),
        wide_tiles(2, 1024),
        tiff({256: [16], 257: [16], 259: [7], 273: [8], 278: [16], 279: [len(scans)]}, scans),
    ]
