"""What a picture's first bytes say: its format and its size, before anything is decoded.

Sources: ITU-T T.81 (JPEG markers), PNG 1.2 (IHDR), the BITMAPINFOHEADER of BMP, the WebP container
specification (VP8, VP8L, VP8X), and TIFF 6.0 (image file directory).
"""

from __future__ import annotations

import codecs
import struct
from typing import NamedTuple, Optional, Tuple

from . import png_chunks
from .jpeg_segments import SCAN, is_frame, segments
from .tiff_directory import HEIGHT, WIDTH, read_fields

READABLE = ("JPEG", "PNG", "BMP", "WebP", "TIFF")

_MAX_BMP_HEADER = 1024

# Formats people send by mistake, so that the error can name them.
_FOREIGN = (
    (b"GIF8", "a GIF"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or an Office document"),
    (b"\x1f\x8b", "gzip data"),
    (b"\x93NUMPY", "a numpy array"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"<svg", "an SVG drawing"),
    (b"<?xml", "XML text"),
    (b"<!DOCTYPE", "an HTML page"),
    (b"<html", "an HTML page"),
)


class ImageHeader(NamedTuple):
    """Format name of `READABLE`, and the stored size in pixels."""

    format: str
    width: int
    height: int


def read_format(data: bytes) -> Optional[str]:
    """Return the format that the first bytes announce, or None if it is none of `READABLE`."""
    if data[:3] == b"\xff\xd8\xff":
        return "JPEG"
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return "PNG"
    # The size of the header that follows tells a BMP from a text that begins with BM.
    if data[:2] == b"BM" and int.from_bytes(data[14:18], "little") <= _MAX_BMP_HEADER:
        return "BMP"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "WebP"
    if data[:4] in (b"II*\x00", b"MM\x00*"):
        return "TIFF"
    return None


def foreign_name(data: bytes) -> str:
    """Return what data of no readable format looks like, in words."""
    head = data[:64].lstrip()
    for magic, name in _FOREIGN:
        if head.lower().startswith(magic.lower()):
            return name
    if data[4:8] == b"ftyp":
        return "a HEIC, AVIF or video file"
    try:
        # Incrementally: the cut at 512 bytes may go through a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:512])
        if text.isprintable() or "\n" in text:
            return "text"
    except UnicodeDecodeError:
        pass
    return "no picture format we know"


def read_header(data: bytes) -> Optional[ImageHeader]:
    """Return format and size, or None if the header is missing, cut off or nonsense."""
    name = read_format(data)
    if name is None:
        return None
    try:
        size = _READERS[name](data)
    except (struct.error, IndexError):
        return None
    if size is None or size[0] <= 0 or size[1] <= 0:
        return None
    return ImageHeader(name, size[0], size[1])


def is_complete(data: bytes, name: str) -> bool:
    """Return whether the data reaches its format's end mark.

    OpenCV fills what is missing of a cut-off JPEG with grey and says nothing. Bytes after the end
    mark are common (cameras pad) and fine.
    """
    if name == "JPEG":
        # Not before the pixels: the thumbnail in a photo's EXIF data is a whole JPEG with its own
        # end mark.
        pixels = next((at for marker, at in segments(data) if marker == SCAN), len(data))
        return data.rfind(b"\xff\xd9", pixels) > 0
    if name == "PNG":
        return png_chunks.ends(data)
    if name == "WebP":
        return len(data) >= 8 + int(struct.unpack_from("<I", data, 4)[0])
    return True


def _jpeg_size(data: bytes) -> Optional[Tuple[int, int]]:
    for marker, position in segments(data):
        if is_frame(marker):
            height, width = struct.unpack_from(">HH", data, position + 3)
            return width, height
    return None


def _png_size(data: bytes) -> Optional[Tuple[int, int]]:
    if data[12:16] != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _bmp_size(data: bytes) -> Optional[Tuple[int, int]]:
    (header,) = struct.unpack_from("<I", data, 14)
    if header == 12:
        width, height = struct.unpack_from("<HH", data, 18)
        return width, height
    width, height = struct.unpack_from("<ii", data, 18)
    return width, abs(height)  # negative: stored from the top


def _webp_size(data: bytes) -> Optional[Tuple[int, int]]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        width = int.from_bytes(data[24:27], "little") + 1
        height = int.from_bytes(data[27:30], "little") + 1
        return (width, height) if len(data) >= 30 else None
    return None


def _tiff_size(data: bytes) -> Optional[Tuple[int, int]]:
    found = read_fields(data, (WIDTH, HEIGHT))
    if len(found) < 2:
        return None
    # A tag given twice must not hide a large picture behind a small one.
    return int(found[WIDTH].max()), int(found[HEIGHT].max())


_READERS = {
    "JPEG": _jpeg_size,
    "PNG": _png_size,
    "BMP": _bmp_size,
    "WebP": _webp_size,
    "TIFF": _tiff_size,
}
