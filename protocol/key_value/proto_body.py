"""A serialised Request, read by protobuf; its long values are decoded in place.

Measured with a value of 60 MB: protobuf blocks the event loop for 50 ms to copy the value and for
50 ms more to make a `str` of it; the bound is 50 ms. So each long value is replaced by an empty one
before protobuf reads the message.
"""

from __future__ import annotations

from . import pipeline_service_pb2 as pb
from .json_body import LONG, LongString
from .sizes import fields_of

_VALUE = pb.Request.DESCRIPTOR.fields_by_name["value"].number
_EMPTY = pb.Request(value=[""]).SerializeToString()


def load_proto(data: bytes) -> tuple[pb.Request, list[str | LongString]]:
    """Return the message with empty strings for its long values, and the values.

    `data` has passed `check_proto_size`.

    Raises:
        DecodeError: it is no Request.
    """
    text = memoryview(data)
    long: dict[int, LongString] = {}
    rest: list[bytes | memoryview] = []
    position = 0
    values = (field for field in fields_of(data) if field.number == _VALUE and field.is_bytes)
    for number, field in enumerate(values):
        if field.end - field.begin > LONG:
            long[number] = LongString(text[field.begin : field.end], escaped=False)
            rest += [text[position : field.tag], _EMPTY]
            position = field.end
    message = pb.Request.FromString(b"".join([*rest, text[position:]]) if long else data)
    return message, [long.get(number, value) for number, value in enumerate(message.value)]
