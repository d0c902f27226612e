"""The JSON envelope, read by msgspec without its long strings, which are decoded in place.

Measured with a body of 60 MB: msgspec holds the interpreter's lock for 15 to 170 ms, orjson for 100
and `json` for 130; of a skeleton of 2 MiB msgspec holds it for 16 ms at most. The unescaping in
pieces stays because PHP escapes each "/", and msgspec removes the escapes of 60 MB in one call of
120 ms.
"""

from __future__ import annotations

import codecs
import io
import json
import re
from typing import Any

import msgspec

from ..codec import MOST_PARTS, Hints, NotQuick
from ..errors import InvalidRequest
from ..option_names import check_field
from .base64_text import decode_base64, decode_plain_base64
from .sizes import check_json_size
from .skeleton import Skeleton, skeleton_of

QUICK_BYTES = 512 * 1024
_QUICK_PARTS = 500
_MOST_FIELDS = 100
_ANY = Hints()
_LONGEST_KEY = 2048  # bytes of JSON
LONGEST_NUMBER = 100  # digits
PIECE = 256 * 1024  # bytes; pieces of 1 MiB took 1.1 to 2.9 times as long
_LONGEST_ESCAPE = len(rb"\u0041")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F][0-9a-fA-F]{2}")


class _Envelope(msgspec.Struct):
    """What is read of a body; other fields are skipped."""

    key: list[str]
    value: list[msgspec.Raw]
    tensors: Any = None
    logid: msgspec.Raw = msgspec.Raw(b"null")
    log_id: msgspec.Raw = msgspec.Raw(b"null")


class _StrictEnvelope(_Envelope, forbid_unknown_fields=True):
    """The same, with the other fields of 0.9's Request, which are skipped; no others."""

    name: msgspec.Raw = msgspec.Raw(b"null")
    method: msgspec.Raw = msgspec.Raw(b"null")
    clientip: msgspec.Raw = msgspec.Raw(b"null")


_envelope = msgspec.json.Decoder(_Envelope)
_strict_envelope = msgspec.json.Decoder(_StrictEnvelope)
_names = msgspec.json.Decoder(dict[str, msgspec.Raw])
_anything = msgspec.json.Decoder()


class LongString:
    """A long string of a body or message, still in the bytes that were received."""

    def __init__(self, text: memoryview, *, escaped: bool) -> None:
        """Refer to UTF-8 bytes, with or without the escapes of JSON."""
        self._text = text
        self._escaped = escaped

    def __len__(self) -> int:
        return len(self._text)

    def start(self) -> str:
        """Return its first characters, for an error message."""
        return str(self._text[:100], errors="replace") + "..."

    def decoded(self, *, plain: bool = False) -> bytes:
        """Return the bytes whose base64 it is.

        Raises:
            ValueError: it is not base64.
            NotQuick: with `plain`, where it needs a repair.
        """
        if not self._escaped:
            return decode_base64(self._text, plain=plain)
        try:
            # JSON escapes its line breaks.
            return decode_plain_base64(self._text, ignored=b"")
        except ValueError:
            if plain:
                raise NotQuick from None
            return decode_base64(_unescaped(self._text))


class LongNumber:
    """A number of so many digits that Python would refuse to read or to write it."""

    def __init__(self, text: memoryview) -> None:
        """Refer to its digits."""
        self._text = text

    def start(self) -> str:
        """Return its first digits, for an error message."""
        return str(self._text[:LONGEST_NUMBER], "latin-1") + "..."


def load_json(body: bytes, hints: Hints = _ANY) -> object:
    """Return what `json.loads` returns, except that long strings in `value` are `LongString`.

    Of an envelope, other fields and fields that are null are left out, and surrogates become
    U+FFFD if one of them is without its pair. Numbers of many digits are `LongNumber`.

    Raises:
        InvalidRequest: it has more values than `hints.most_parts`, a key over `_LONGEST_KEY`
            bytes, an option beside `key` and `value`, or too much besides.
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
        NotQuick: the hints say that it must be quick, and it cannot be.
    """
    if hints.quick and len(body) > QUICK_BYTES:
        raise NotQuick
    encoding = json.detect_encoding(body)
    if encoding != "utf-8":  # also where UTF-8 begins with a byte order mark
        body = _in_utf_8(body, encoding)
    skeleton = skeleton_of(body, hints)
    _check_parts(skeleton.text, hints)
    try:
        fields = _decoded(skeleton)
    except msgspec.ValidationError:
        # Not the envelope; the caller reports what is wrong.
        other = _anything.decode(skeleton.text)
        long = skeleton.in_text(other) if isinstance(other, str) else None
        return other if long is None else LongString(long, escaped=True).start()
    read: dict[str, object] = {
        "key": [_name(key, skeleton) for key in fields.key],
        "value": [_value(raw, skeleton) for raw in fields.value],
        "tensors": fields.tensors,
        "logid": _value(fields.logid, skeleton),
        "log_id": _value(fields.log_id, skeleton),
    }
    return {name: field for name, field in read.items() if field is not None}


def _in_utf_8(body: bytes, encoding: str) -> bytes:
    """Return the body in UTF-8; other threads run between the pieces."""
    if encoding == "utf-8-sig":
        return body[len(codecs.BOM_UTF8) :]
    decoder = codecs.getincrementaldecoder(encoding)()
    text = io.BytesIO()
    for begin in range(0, len(body), PIECE):
        text.write(decoder.decode(body[begin : begin + PIECE]).encode())
    decoder.decode(b"", final=True)
    return text.getvalue()


def _check_parts(text: bytes, hints: Hints) -> None:
    if not hints.quick:
        check_json_size(text, hints.most_parts)
        return
    try:
        check_json_size(text, _QUICK_PARTS)
    except InvalidRequest:
        raise NotQuick from None


def _decoded(skeleton: Skeleton) -> _Envelope:
    try:
        return _strict_envelope.decode(skeleton.text)
    except msgspec.ValidationError:
        return _with_other_fields(skeleton.text, skeleton)
    except msgspec.DecodeError:
        # `json` of Python writes the bytes of a file name that is not UTF-8 as surrogates, and
        # reads them; msgspec does not. Such a name may be a key.
        text = _without_surrogates(skeleton.text)
        if text is None:
            raise
    return _with_other_fields(text, skeleton)


def _with_other_fields(text: bytes | bytearray, skeleton: Skeleton) -> _Envelope:
    """Read an envelope that may have fields which are skipped, but no option beside `key`."""
    envelope = _envelope.decode(text)
    names = _names.decode(text)
    if len(names) > _MOST_FIELDS:
        raise InvalidRequest(
            f'the body has more than {_MOST_FIELDS} fields beside "key" and "value"; leave them out'
        )
    for name in names:
        check_field(_name(name, skeleton))
    return envelope


def _name(text: str, skeleton: Skeleton) -> str:
    """Return a key or a field's name, which a mark may stand for.

    Raises:
        InvalidRequest: it is too long.
    """
    long = skeleton.in_text(text)
    if long is None:
        return text
    if len(long) > _LONGEST_KEY:
        start = LongString(long, escaped=True).start()
        raise InvalidRequest(f"the key {start[:40]!r} has more than {_LONGEST_KEY} bytes")
    quoted = b'"%b"' % bytes(long)
    return msgspec.json.decode(_without_surrogates(quoted) or quoted, type=str)


def _without_surrogates(body: bytes) -> bytearray | None:
    r"""Return `body` with \ufffd for each escaped surrogate; None for none, or too many.

    In pieces, so that other threads run meanwhile.
    """
    text = None
    replaced = 0
    for begin in range(0, len(body), PIECE):
        for found in _SURROGATE.finditer(body, begin, begin + PIECE + _LONGEST_ESCAPE - 1):
            text = bytearray(body) if text is None else text
            text[found.start() : found.end()] = rb"\ufffd"
            replaced += 1
            if replaced > MOST_PARTS:
                return None
    return text


def _value(raw: msgspec.Raw, skeleton: Skeleton) -> object:
    text = memoryview(raw)
    long = skeleton.in_raw(text)
    if long is not None:
        return LongString(long, escaped=True)
    if len(text) > LONGEST_NUMBER and text[0] in b"-0123456789":
        return LongNumber(text)
    return _anything.decode(raw)


def _unescaped(text: memoryview) -> bytearray:
    """Return the text of a JSON string without its escapes.

    Other threads run between the pieces.

    Raises:
        ValueError: it is not UTF-8, or has an escaped backslash, which base64 never has.
    """
    plain = bytearray()
    begin = 0
    while begin < len(text):
        piece = bytes(text[begin : begin + PIECE])
        if begin + len(piece) < len(text):
            # An escape must not be cut. Two backslashes may be: they are an error anyway.
            escape = piece.rfind(b"\\", 1 - _LONGEST_ESCAPE)
            piece = piece[:escape] if escape > 0 else piece
        plain += msgspec.json.decode(b'"%b"' % piece, type=str).encode()
        begin += len(piece)
    return plain
