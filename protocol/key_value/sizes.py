"""The number of parts of a request, counted before it is parsed.

Two bytes on the wire can be a hundred in memory: `{}` in JSON, an empty tensor in a protobuf
message. A request for images has few parts, so one with many is refused before it is parsed. Ours,
because neither msgspec nor protobuf has such a bound.

Format of protobuf: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..codec import MOST_PARTS, Hints, NotQuick
from ..errors import InvalidRequest

QUICK_PARTS = 200
_ANY = Hints()
_LONGEST_NAME = 1000  # bytes; a longer name is that of no service
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Fields of Request: the one whose entries are messages, and the service's name.
_TENSORS, _NAME = 3, 4
# The fields of Tensor that hold numbers, packed into bytes: eight times as large in memory.
_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 21, 22})


class Field(NamedTuple):
    """A field of a message: where its tag begins, and where its content begins and ends."""

    number: int
    is_bytes: bool
    tag: int
    begin: int
    end: int


def check_json_size(body: bytes, most: int = MOST_PARTS) -> None:
    """Check a JSON body.

    Raises:
        InvalidRequest: it has more than `most` values.
    """
    parts = 0
    for mark in (b",", b"[", b"{"):
        # `bytes.count` takes ten times as long on a body with few of them.
        position = body.find(mark)
        while position >= 0:
            parts += 1
            if parts > most:
                raise _too_many(most)
            position = body.find(mark, position + 1)


def check_proto_size(data: bytes, hints: Hints = _ANY) -> str:
    """Check a serialised Request; return the name of the service in it, without parsing the rest.

    Raises:
        InvalidRequest: it, with the tensors in it, has more fields than `hints.most_parts`, or is
            no protobuf message.
        NotQuick: it has more than `QUICK_PARTS`, and the hints say that it must be quick.
    """
    parts = 0
    name = b""
    most = QUICK_PARTS if hints.quick else hints.most_parts
    for field in fields_of(data):
        parts += 1
        if field.number == _TENSORS and field.is_bytes:
            for inner in fields_of(data, field.begin, field.end):
                packed = inner.is_bytes and inner.number in _NUMBERS
                parts += 1 + (inner.end - inner.begin if packed else 0)
                if parts > most:
                    raise NotQuick if hints.quick else _too_many(most)
        elif field.number == _NAME and field.is_bytes:
            name = data[field.begin : min(field.end, field.begin + _LONGEST_NAME)]
        if parts > most:
            raise NotQuick if hints.quick else _too_many(most)
    return name.decode(errors="replace")


def fields_of(data: bytes, position: int = 0, end: int | None = None) -> Iterator[Field]:
    """Yield the fields of the message in `data[position:end]`.

    Raises:
        InvalidRequest: it is no protobuf message.
    """
    end = len(data) if end is None else end
    while position < end:
        tag = position
        key, begin = _varint(data, position)
        kind = key & 7
        if kind == _BYTES:
            length, begin = _varint(data, begin)
            position = begin + length
        elif kind == _VARINT:
            _, position = _varint(data, begin)
        elif kind in (_FIXED32, _FIXED64):
            position = begin + (4 if kind == _FIXED32 else 8)
        else:
            raise InvalidRequest("the message is no Request of Paddle Serving's protocol")
        if position > end:
            raise InvalidRequest("the message is cut off")
        yield Field(key >> 3, kind == _BYTES, tag, begin, position)


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins at `position`, and the position after it."""
    number = 0
    for shift in range(0, 70, 7):
        if position >= len(data):
            raise InvalidRequest("the message is cut off")
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise InvalidRequest("the message is no Request of Paddle Serving's protocol")


def _too_many(most: int) -> InvalidRequest:
    return InvalidRequest(
        f"the request has more than {most} parts; send an image as one string or one field"
    )
