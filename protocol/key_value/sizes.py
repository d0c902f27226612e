"""How much a message would become, looked at before it is parsed.

Two bytes on the wire can be a hundred in memory: `{}` in JSON, an empty tensor in a protobuf
message. A request for pictures has few parts, so one of many is refused while it is still bytes.

Format of protobuf: https://protobuf.dev/programming-guides/encoding
"""

from __future__ import annotations

from collections.abc import Iterator

from ..errors import InvalidRequest

MOST_PARTS = 10_000
_PIECE = 2**20
_JSON_MARKS = (b",", b"[", b"{")
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
# Fields of Request: the one whose entries are messages, and the service's name.
_TENSORS, _NAME = 3, 4
# The fields of Tensor that hold numbers, packed into bytes: eight times as large in memory.
_NUMBERS = frozenset({1, 2, 3, 4, 5, 6, 7, 8, 21, 22})


def check_json_size(body: bytes) -> None:
    """Look at a JSON body.

    Raises:
        InvalidRequest: it has more than `MOST_PARTS` values.
    """
    # In pieces, for other threads do not run during a call.
    parts = 0
    for begin in range(0, len(body), _PIECE):
        parts += sum(body.count(mark, begin, begin + _PIECE) for mark in _JSON_MARKS)
        if parts > MOST_PARTS:
            raise _too_many()


def check_proto_size(data: bytes) -> None:
    """Look at a serialised Request.

    Raises:
        InvalidRequest: it, with the tensors in it, has more than `MOST_PARTS` fields, or is no
            protobuf message.
    """
    try:
        _count(data, 0, len(data), 0, nested=False)
    except IndexError:
        raise InvalidRequest("the message is cut off") from None


def service_in(data: bytes) -> str:
    """Return the service that a serialised Request names, while all else of it is still bytes.

    Raises:
        InvalidRequest: as `check_proto_size`.
    """
    check_proto_size(data)
    name = b""
    for number, _field, begin, end in fields_of(data):
        if number == _NAME:
            name = data[begin:end]
    return name.decode(errors="replace")


def fields_of(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield the fields of a message that are bytes, each as its number, begin, and its bytes' ends.

    `data` has passed `check_proto_size`.
    """
    position = 0
    while position < len(data):
        field = position
        tag, position = _varint(data, position)
        kind = tag & 7
        if kind == _BYTES:
            length, position = _varint(data, position)
            yield tag >> 3, field, position, position + length
            position += length
        elif kind == _VARINT:
            _, position = _varint(data, position)
        else:
            position += 4 if kind == _FIXED32 else 8


def _count(data: bytes, position: int, end: int, parts: int, *, nested: bool) -> int:
    """Return `parts` and the fields between `position` and `end` together."""
    while position < end:
        parts += 1
        if parts > MOST_PARTS:
            raise _too_many()
        tag, position = _varint(data, position)
        field, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length, position = _varint(data, position)
            if not nested and field == _TENSORS:
                inside_end = min(position + length, end)
                parts = _count(data, position, inside_end, parts, nested=True)
            elif nested and field in _NUMBERS:
                parts += length
                if parts > MOST_PARTS:
                    raise _too_many()
            position += length
        elif kind == _VARINT:
            _, position = _varint(data, position)
        elif kind in (_FIXED32, _FIXED64):
            position += 4 if kind == _FIXED32 else 8
        else:
            raise InvalidRequest("the message is no Request of Paddle Serving's protocol")
    return parts


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return the number that begins at `position`, and where it ends."""
    number = 0
    for shift in range(0, 70, 7):
        byte = data[position]
        position += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, position
    raise InvalidRequest("the message is no Request of Paddle Serving's protocol")


def _too_many() -> InvalidRequest:
    return InvalidRequest(
        f"the request has more than {MOST_PARTS} parts; send a picture as one text or one field"
    )
