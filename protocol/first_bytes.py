"""What a body is by its first bytes: programs send a wrong Content-Type, or none.

An image begins with bytes that no text has: a control character, or what is not UTF-8. JSON, forms
and base64 are text. So the two cannot be confused, and no format of images need be known here.
"""

from __future__ import annotations

import codecs

_LOOKED_AT = 64
_BYTE_ORDER_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_IN_TEXT = frozenset(b"\t\n\r\f\v")


def is_binary(body: bytes) -> bool:
    """Return whether the first bytes are no text; also not JSON in UTF-16 or UTF-32."""
    head = body[:_LOOKED_AT]
    if is_json(head):
        return False
    if any(byte < 0x20 and byte not in _IN_TEXT for byte in head):
        return True
    try:
        # Incrementally: the cut may go through a character.
        codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return True
    return False


def is_json(body: bytes) -> bool:
    """Return whether the first character, behind white space, begins a JSON object or list."""
    head = body[:_LOOKED_AT]
    for mark in _BYTE_ORDER_MARKS:
        head = head.removeprefix(mark)
    return head.replace(b"\0", b"").lstrip()[:1] in (b"{", b"[")
