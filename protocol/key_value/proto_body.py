"""A serialised Request, read by protobuf; its long values and its tensors are decoded in place.

Measured with a value of 60 MB: protobuf holds the interpreter's lock for 50 ms to copy the value
and for 50 ms more to make a `str` of it; the bound is 50 ms. So each long value is replaced by an
empty one before protobuf reads the message; tensors, and long fields that nothing reads, are left
out.
"""

from __future__ import annotations

from typing import NamedTuple

from ..codec import NotQuick
from ..errors import InvalidRequest
from . import pipeline_service_pb2 as pb
from .json_body import LongString
from .sizes import QUICK_PARTS, Field, fields_of

LONG = 16 * 1024  # bytes; shorter values are read by protobuf
_LONGEST_KEY = 2048
_QUICK_TENSORS = 20
_QUICK_FIELDS = 10  # of a tensor


def _number(message: type, name: str) -> int:
    return int(message.DESCRIPTOR.fields_by_name[name].number)  # type: ignore[attr-defined]


_KEY, _VALUE, _TENSORS = (_number(pb.Request, name) for name in ("key", "value", "tensors"))
_TEXTS, _DATA, _NAME = (_number(pb.Tensor, name) for name in ("str_data", "byte_data", "name"))
_EMPTY = pb.Request(value=[""]).SerializeToString()


class ImageTensor(NamedTuple):
    """What is read of a tensor: its `str_data`, and its `byte_data`, which is copied once."""

    name: str
    texts: list[LongString]
    data: bytes


def load_proto(
    data: bytes, *, quick: bool = False
) -> tuple[pb.Request, list[str | LongString], list[ImageTensor]]:
    """Return the message with empty strings for its long values, the values, and the tensors.

    `data` has passed `check_proto_size`.

    Raises:
        DecodeError: it is no Request.
        InvalidRequest: a key is too long.
        NotQuick: with `quick`, it has many fields.
    """
    view = memoryview(data)
    long: dict[int, LongString] = {}
    tensors: list[ImageTensor] = []
    rest: list[bytes | memoryview] = []
    position = values = 0
    for count, field in enumerate(fields_of(data)):
        if quick and (count > QUICK_PARTS or len(tensors) > _QUICK_TENSORS):
            raise NotQuick
        if not field.is_bytes:
            continue
        if field.number == _KEY:
            _check_key(view, field)
        values += field.number == _VALUE
        if field.number != _TENSORS and field.end - field.begin <= LONG:
            continue
        rest.append(view[position : field.tag])
        position = field.end
        if field.number == _TENSORS:
            tensors.append(_tensor(data, field, quick=quick))
        elif field.number == _VALUE:
            rest.append(_EMPTY)
            long[values - 1] = LongString(view[field.begin : field.end], escaped=False)
    message = pb.Request.FromString(b"".join([*rest, view[position:]]) if rest else data)
    read = [long.get(number, value) for number, value in enumerate(message.value)]
    return message, read, tensors


def _check_key(view: memoryview, field: Field) -> None:
    if field.end - field.begin > _LONGEST_KEY:
        start = str(view[field.begin : field.begin + 40], "utf-8", "replace")
        raise InvalidRequest(f"the key {start!r} has more than {_LONGEST_KEY} bytes")


def _tensor(data: bytes, tensor: Field, *, quick: bool) -> ImageTensor:
    view = memoryview(data)
    texts: list[LongString] = []
    name, content = b"", b""
    for count, field in enumerate(fields_of(data, tensor.begin, tensor.end)):
        if quick and count > _QUICK_FIELDS:
            raise NotQuick
        if not field.is_bytes:
            continue
        if field.number == _TEXTS:
            texts.append(LongString(view[field.begin : field.end], escaped=False))
        elif field.number == _DATA:
            content = data[field.begin : field.end]
        elif field.number == _NAME:
            name = data[field.begin : min(field.end, field.begin + _LONGEST_KEY)]
    return ImageTensor(name.decode(errors="replace"), texts, content)
