"""Names for data of no format that is read, so that the error can say what was sent."""

from __future__ import annotations

import codecs
import re
from typing import Optional, Tuple

_JPEG_2000 = "a JPEG 2000"
_JPEG_XL = "a JPEG XL"
_ICON = "an icon"
_HTML = "an HTML page"
_POSTSCRIPT = "a PostScript document"

# (where, what stands there, its name)
_SIGNATURES: Tuple[Tuple[int, bytes, str], ...] = (
    (0, b"GIF8", "a GIF"),
    (0, b"\x00\x00\x00\x0cjP  ", _JPEG_2000),
    (0, b"\xff\x4f\xff\x51", _JPEG_2000),
    (0, b"\x00\x00\x00\x0cJXL ", _JPEG_XL),
    (0, b"\xff\x0a", _JPEG_XL),
    (0, b"\xff\xd8\xff\xf7", "a JPEG-LS"),
    (0, b"II\xbc", "a JPEG XR"),
    (0, b"8BPS", "a Photoshop document (PSD)"),
    (0, b"\x00\x00\x01\x00", _ICON),
    (0, b"\x00\x00\x02\x00", _ICON),
    (0, b"icns", _ICON),
    (0, b"v/1\x01", "an OpenEXR"),
    (0, b"#?RADIANCE", "a Radiance HDR"),
    (0, b"#?RGBE", "a Radiance HDR"),
    (0, b"\x59\xa6\x6a\x95", "a Sun raster image"),
    (0, b"\x01\xda\x00", "an SGI image"),
    (0, b"\x01\xda\x01", "an SGI image"),
    (0, b"/* XPM", "an XPM"),
    (0, b"\x0a\x05\x01", "a PCX"),
    (0, b"DDS ", "a DirectDraw texture (DDS)"),
    (0, b"qoif", "a QOI"),
    (0, b"SIMPLE  =", "a FITS"),
    (0, b"BPG\xfb", "a BPG"),
    (0, b"FLIF", "a FLIF"),
    (0, b"\x8aMNG", "an MNG"),
    (0, b"\x8bJNG", "a JNG"),
    (128, b"DICM", "a DICOM file"),
    (0, b"IIRO", "a raw photo"),
    (0, b"IIRS", "a raw photo"),
    (0, b"IIU\x00", "a raw photo"),
    (0, b"FUJIFILMCCD-RAW", "a raw photo"),
    (0, b"\xd7\xcd\xc6\x9a", "a Windows metafile"),
    (40, b" EMF", "a Windows metafile"),
    (0, b"%PDF", "a PDF document"),
    (0, b"%!PS", _POSTSCRIPT),
    (0, b"\xc5\xd0\xd3\xc6", _POSTSCRIPT),
    (8, b"AVI ", "a video"),
    (0, b"\x1a\x45\xdf\xa3", "a video"),
    (0, b"PK\x03\x04", "a ZIP archive or an Office document"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Office document"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"\x28\xb5\x2f\xfd", "zstd data"),
    (0, b"BZh", "bzip2 data"),
    (0, b"\xfd7zXZ", "xz data"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!\x1a", "a RAR archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"\x93NUMPY", "a numpy array"),
    (0, b"\x89HDF", "an HDF5 file"),
)
_PATTERNS = (
    (re.compile(rb"P(?:[1-6]\s+[#\d]|7\nWIDTH|[Ff]4?\s+\d)"), "a Netpbm image (PNM, PAM or PFM)"),
    (re.compile(rb"\x80[\x02-\x05](?:[\x00-\x1f.(}\]c]|\x95)"), "a Python pickle"),
)
# After white space, in capitals or not.
_MARKUP = (
    (b"<svg", "an SVG drawing"),
    (b"<!doctype html", _HTML),
    (b"<html", _HTML),
    (b"<!doctype svg", "an SVG drawing"),
    (b"<?xml", "XML text"),
)
# The brand of an ISO base media file (the same container as MP4).
_BRANDS = {
    b"avif": "an AVIF",
    b"avis": "an AVIF",
    b"heic": "a HEIC",
    b"heix": "a HEIC",
    b"heim": "a HEIC",
    b"heis": "a HEIC",
    b"hevc": "a HEIC",
    b"hevx": "a HEIC",
    b"mif1": "a HEIC or AVIF",
    b"msf1": "a HEIC or AVIF",
    b"jxl ": _JPEG_XL,
    b"jp2 ": _JPEG_2000,
    b"crx ": "a raw photo",
}
_TGA_END = b"TRUEVISION-XFILE.\0"
_TEXT = 512


def foreign_name(data: bytes) -> str:
    """Return what the data looks like, in words: "a GIF"."""
    for start, signature, name in _SIGNATURES:
        if data.startswith(signature, start):
            return name
    if data[4:8] == b"ftyp":
        return _BRANDS.get(data[8:12], "a video")
    for pattern, name in _PATTERNS:
        if pattern.match(data):
            return name
    if data.endswith(_TGA_END):
        return "a TGA"
    if not data[:_TEXT].strip(b"\0"):
        return "nothing but zero bytes"
    return _markup(data) or ("text" if _is_text(data) else "no known image format")


def _markup(data: bytes) -> Optional[str]:
    head = data[:_TEXT].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    name = next((name for beginning, name in _MARKUP if head.startswith(beginning)), None)
    return "an SVG drawing" if name == "XML text" and b"<svg" in head else name


def _is_text(data: bytes) -> bool:
    try:
        # Incrementally: the cut may go through a character.
        text = codecs.getincrementaldecoder("utf-8")().decode(data[:_TEXT])
    except UnicodeDecodeError:
        return False
    return text.isprintable() or "\n" in text
