"""Base64, decoded by pybase64 in one call, during which other threads run.

Measured with 60 MB: the call takes 40 ms, and another thread waits 4 ms at most. `base64.b64decode`
takes 290 ms, and no other thread runs meanwhile. What is ours is data URLs and line breaks; what is
not plain base64 is repaired first (`protocol.base64_repair`), at the cost of some copies.
"""

from __future__ import annotations

import contextlib

import pybase64

from ..base64_repair import change, repair
from ..codec import NotQuick

# MIME encoders break lines, and a text from a file ends with a line break. Blanks may be lost `+`.
_LINE_BREAKS = b"\t\n\r\v\f"
_LONGEST_HEAD = 1024
_LEAST_IMAGE = 32  # characters; the base64 of any image has more


def decode_base64(
    text: str | bytes | bytearray | memoryview, *, plain: bool = False, form: bool = False
) -> bytes:
    """Return the bytes of a base64 text or of a data URL; line breaks are ignored.

    A bytearray may be changed: the caller gives it away. With `form` the text is a value of a form:
    where it has escapes, its plus signs are blanks.

    Raises:
        ValueError: it is not base64; the text says what it is, where that is known.
        NotQuick: with `plain`, where it needs a repair, which takes ten times as long.
    """
    with contextlib.suppress(ValueError):
        return decode_plain_base64(text)
    if plain:
        raise NotQuick
    if isinstance(text, str):
        text = text.encode(errors="replace")
    raw = text if isinstance(text, bytearray) else bytearray(text)
    word = raw.decode(errors="replace") if len(raw) < _LEAST_IMAGE else ""
    if form and b"%" in raw:
        change(raw, lambda piece: piece.replace(b"+", b" "))
    repair(raw)
    try:
        return pybase64.b64decode(raw, validate=True, ignorechars=_LINE_BREAKS)
    except ValueError as error:
        if not word:
            raise
        # Most likely a flag beside the image.
        raise ValueError(
            f"{error}; {word!r} is too short to be an image: leave this key out, or send the image"
        ) from error


def decode_plain_base64(
    text: str | bytes | bytearray | memoryview, ignored: bytes = _LINE_BREAKS
) -> bytes:
    """Return the bytes of a text that needs no repair; it is not copied.

    Characters in `ignored` may stand anywhere in it.

    Raises:
        ValueError: it is none.
    """
    head = text[:_LONGEST_HEAD]
    start = head if isinstance(head, str) else str(head, "latin-1")
    # The head of a data URL is harmless and common in browsers.
    begin = start.find(",") + 1 if start.startswith("data:") else 0
    if isinstance(text, str):
        return pybase64.b64decode(text[begin:], validate=True, ignorechars=ignored)
    with memoryview(text) as view, view[begin:] as rest:
        return pybase64.b64decode(rest, validate=True, ignorechars=ignored)
