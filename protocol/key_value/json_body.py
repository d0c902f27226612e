"""The JSON envelope, with its long strings left where they are in the body.

msgspec reads a body of 60 MB in 15 to 30 ms, because it only skips the entries of `value`, and
their base64 is decoded from the body itself; orjson takes 100 ms and `json` 130, during which no
other thread runs and the service answers no health request.
"""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec

from .base64_text import decode_base64
from .sizes import check_json_size

# Shorter strings are decoded at once.
LONG = 16 * 1024  # bytes
PIECE = 1024 * 1024  # bytes
_LONGEST_ESCAPE = len(rb"\u0041")


class _Envelope(msgspec.Struct):
    """What is read of a body; other fields are skipped."""

    key: list[str]
    value: list[msgspec.Raw]
    tensors: Any = None
    logid: Any = None
    log_id: Any = None


_envelope = msgspec.json.Decoder(_Envelope)
_anything = msgspec.json.Decoder()


class LongString:
    """A long string of a body or message, as the bytes that came."""

    def __init__(self, text: memoryview, *, escaped: bool) -> None:
        """Take UTF-8, in JSON's escapes or without any."""
        self._text = text
        self._escaped = escaped

    def start(self) -> str:
        """Return its first characters, for an error message."""
        return str(self._text[:100], errors="replace") + "..."

    def decoded(self) -> bytes:
        """Return the bytes whose base64 it is.

        Raises:
            ValueError: it is not base64.
        """
        try:
            return decode_base64(self._text)
        except ValueError:
            if not self._escaped:
                raise
        return decode_base64(_unescaped(self._text))


def load_json(body: bytes) -> object:
    """Return what `json.loads` does, but the long strings in the list `value` as `LongString`.

    Fields of an object that are no part of the envelope may be left out.

    Raises:
        InvalidRequest: it has more values than a request for images has.
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    encoding = json.detect_encoding(body)
    if encoding != "utf-8":  # or it begins with a byte order mark
        body = body.decode(encoding).encode()
    check_json_size(body)
    try:
        fields = _envelope.decode(body)
    except msgspec.ValidationError:
        return _anything.decode(body)  # not the envelope: the caller names what is wrong
    values = [_value(raw) for raw in fields.value]
    read = msgspec.structs.asdict(fields) | {"value": values}
    return {name: field for name, field in read.items() if field is not None}


def _value(raw: msgspec.Raw) -> object:
    text = memoryview(raw)
    if len(text) > LONG and text[0] == ord('"'):
        return LongString(text[1:-1], escaped=True)
    return _anything.decode(raw)


def _unescaped(text: memoryview) -> memoryview:
    """Return the text of a JSON string without its escapes.

    In pieces, between which other threads run: PHP escapes each "/", and one call for 60 MB takes
    120 ms.
    """
    plain = io.BytesIO()
    begin = 0
    while begin < len(text):
        piece = bytes(text[begin : begin + PIECE])
        if begin + len(piece) < len(text):
            # Not within an escape. Two backslashes may be separated: they are no base64.
            escape = piece.rfind(b"\\", 1 - _LONGEST_ESCAPE)
            piece = piece[:escape] if escape > 0 else piece
        plain.write(msgspec.json.decode(b'"%b"' % piece, type=str).encode())
        begin += len(piece)
    return plain.getbuffer()
