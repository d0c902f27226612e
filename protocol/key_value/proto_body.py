"""A serialised Request, with its long values left where they are in the message.

Protobuf copies a value of 60 MB and makes a text of it in 110 ms, during which no other thread
runs and the service answers no health request. Here each long value is replaced by an empty one
before protobuf reads the message, and its base64 is decoded from the message itself.
"""

from __future__ import annotations

from . import pipeline_service_pb2 as pb
from .json_body import LONG, LongString
from .sizes import fields_of

_VALUE = pb.Request.DESCRIPTOR.fields_by_name["value"].number
_EMPTY = pb.Request(value=[""]).SerializeToString()


def load_proto(data: bytes) -> tuple[pb.Request, list[str | LongString]]:
    """Return the message without its long values, and all values.

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
