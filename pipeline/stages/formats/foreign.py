"""Names for data of no format that is read, so that the error can say what was sent."""

from __future__ import annotations

import codecs

_BEGINNINGS = (
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


def foreign_name(data: bytes) -> str:
    """Return what the data looks like, in words: "a GIF"."""
    head = data[:64].lstrip()
    for beginning, name in _BEGINNINGS:
        if head.lower().startswith(beginning.lower()):
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
    return "no known image format"
