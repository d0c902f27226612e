"""A serialised Request, read with its long values left where they are.

Protobuf makes texts of all values in one call, during which no other thread runs. Here each long
value is replaced by a mark before the rest is read, as `json_body` has it.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator

from . import pipeline_service_pb2 as pb
from .json_body import LONG, LongString
from .sizes import fields_of

_VALUE = pb.Request.DESCRIPTOR.fields_by_name["value"].number


def load_proto(data: bytes) -> tuple[pb.Request, dict[str, LongString]]:
    """Return the message with a mark for each long value, and the values by mark.

    `data` has passed `check_proto_size`.

    Raises:
        DecodeError: it is no Request.
    """
    long = list(_long_values(data))
    if not long:
        return pb.Request.FromString(data), {}
    # Nobody who sends a message can know it.
    secret = secrets.token_hex(16)
    marks, rest, position = {}, [], 0
    for number, (field, begin, end) in enumerate(long):
        mark = f"{secret}{number}"
        marks[mark] = LongString(data, begin, end, escaped=False)
        rest += [data[position:field], pb.Request(value=[mark]).SerializeToString()]
        position = end
    rest.append(data[position:])
    return pb.Request.FromString(b"".join(rest)), marks


def _long_values(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield where the field of each long value begins, and its text begins and ends."""
    for number, field, begin, end in fields_of(data):
        if number == _VALUE and end - begin > LONG and end <= len(data):
            yield field, begin, end
