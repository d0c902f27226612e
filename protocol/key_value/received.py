"""A reply that a client has received, read: ours, or that of a Paddle Serving 0.9 service.

The server may be anything, so what is made of its bytes is bounded by them: JSON is decoded into
the types that are expected and nothing else, which costs at most a few bytes of memory for each
byte; the fields of a message, its keys and its results are counted before they are made. Of a JSON
field that is given twice the last counts.
"""

from __future__ import annotations

import functools
import math
from typing import Annotated, Any

import msgspec
from google.protobuf.message import DecodeError

from ..codec import MOST_PARTS
from ..errors import (
    LONGEST_MESSAGE,
    OK,
    InvalidRequest,
    ServingError,
    UnreadableReply,
    error_from_wire,
)
from ..escaping import excerpt
from ..reply import Categories, Category, ClassifyReply, ImageResult
from . import pipeline_service_pb2 as pb
from .python_text import read_list
from .sizes import fields_of

TOPK = "topk"
MOST_KEYS = 64
# Of a Response: its fields, before protobuf reads it. What is in `tensors` is no result of ours.
MOST_FIELDS = 1000
LONGEST_KEYS = 8 * 1024  # bytes of JSON
LONGEST_NUMBER = 40  # characters
_TENSORS = pb.Response.DESCRIPTOR.fields_by_name["tensors"].number
_LARGEST_CLASS_ID = 2**31 - 1
_Number = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]
# What msgspec raises: at another type or a number out of range, at bad JSON, and at deep nesting.
_MALFORMED = (msgspec.MsgspecError, UnicodeError, RecursionError)


class _Envelope(msgspec.Struct):
    """The JSON body; other fields are skipped."""

    err_no: _Number
    err_msg: str
    key: msgspec.Raw
    value: msgspec.Raw


class _Failure(msgspec.Struct):
    err_no: _Number
    err_msg: str


_envelope = msgspec.json.Decoder(_Envelope)
_keys = msgspec.json.Decoder(tuple[str, ...])
_topk = msgspec.json.Decoder(tuple[Categories | None, ...])
_errors = msgspec.json.Decoder(tuple[_Failure | None, ...] | None)


def reply_from_json(body: bytes) -> ClassifyReply:
    """Read a five-field JSON reply, ours or a 0.9 server's.

    Raises:
        ServingError: the one that the reply reports, or UnreadableReply if it is not the envelope.
    """
    try:
        fields = _envelope.decode(body)
        names = _names(fields.key)
        values: tuple[str, ...] = _texts(len(names)).decode(fields.value)
    except _MALFORMED as error:
        raise UnreadableReply(
            f"the server's reply is not the serving envelope: {excerpt(body)} ({_reason(error)})"
        ) from error
    return _reply(fields.err_no, fields.err_msg, _pairs(names, values))


def reply_from_message(data: bytes) -> ClassifyReply:
    """Read a serialised Response; raises as `reply_from_json`."""
    try:
        kept = []
        for count, field in enumerate(fields_of(data)):
            if count == MOST_FIELDS:
                raise UnreadableReply(f"the server's reply has more than {MOST_FIELDS} fields")
            if field.number != _TENSORS:
                kept.append(data[field.tag : field.end])
        message = pb.Response.FromString(b"".join(kept))
    except (InvalidRequest, DecodeError) as error:
        raise UnreadableReply(
            f"the server's reply is no Response of Paddle Serving's protocol: {excerpt(data)}"
        ) from error
    return reply_from_proto(message)


def reply_from_proto(message: pb.Response) -> ClassifyReply:
    """Read a Response; raises as `reply_from_json`."""
    if message.err_no == OK.err_no and len(message.key) != len(message.value):
        raise UnreadableReply(
            f"the server's reply has {len(message.key)} keys and {len(message.value)} values"
        )
    pairs = _pairs(tuple(message.key), tuple(message.value))
    return _reply(message.err_no, message.err_msg, pairs)


def _names(keys: msgspec.Raw) -> tuple[str, ...]:
    if len(memoryview(keys)) > LONGEST_KEYS:
        raise UnreadableReply(f"the keys of the server's reply are over {LONGEST_KEYS} bytes")
    names: tuple[str, ...] = _keys.decode(keys)
    return names


def _texts(count: int) -> msgspec.json.Decoder[Any]:
    """Return the decoder of `count` strings; it stops at one more.

    Raises:
        UnreadableReply: they are too many.
    """
    if count > MOST_KEYS:
        raise UnreadableReply(f"the server's reply has {count} keys, more than {MOST_KEYS}")
    return _decoder_of(count)


@functools.cache
def _decoder_of(count: int) -> msgspec.json.Decoder[Any]:
    texts: Any = (str,) * count
    return msgspec.json.Decoder(tuple[texts])


def _pairs(names: tuple[str, ...], values: tuple[str, ...]) -> dict[str, str]:
    pairs = dict(zip(names, values, strict=False))
    if len(pairs) != min(len(names), len(values)):
        raise UnreadableReply(f"the server's reply has a key twice: {excerpt(' '.join(names))}")
    return pairs


def _reply(err_no: int, message: str, pairs: dict[str, str]) -> ClassifyReply:
    if err_no != OK.err_no:
        raise error_from_wire(err_no, message[:LONGEST_MESSAGE])
    try:
        if TOPK in pairs:
            results = _results_of_topk(_topk.decode(pairs[TOPK]), _failures(pairs))
        else:
            results = _results_of_0_9(pairs["label"], pairs["prob"], _failures(pairs))
    except KeyError as error:
        keys = excerpt(" ".join(pairs))
        raise UnreadableReply(f"the server's reply has no {error}, only the keys {keys}") from error
    except (*_MALFORMED, ValueError) as error:
        values = excerpt(" ".join(f"{name}={value[:200]}" for name, value in pairs.items()))
        raise UnreadableReply(
            f"the server's reply has no labels we can read: {values} ({_reason(error)})"
        ) from error
    return ClassifyReply(results)


def _failures(pairs: dict[str, str]) -> tuple[_Failure | None, ...]:
    return _errors.decode(pairs.get("errors", "null")) or ()


def _results_of_topk(
    topk: tuple[Categories | None, ...], failures: tuple[_Failure | None, ...]
) -> tuple[ImageResult, ...]:
    _check_count(len(topk))
    for categories in topk:
        for category in categories or ():
            if not -1 <= category.class_id <= _LARGEST_CLASS_ID:
                raise ValueError("a class_id is out of range")
    return tuple(
        _failed(failures, position) if categories is None else categories
        for position, categories in enumerate(topk)
    )


def _results_of_0_9(
    labels: str, probs: str, failures: tuple[_Failure | None, ...]
) -> tuple[ImageResult, ...]:
    """Return the results of a reply without class ids; -1 says that there is none."""
    names, scores = read_list(labels, MOST_PARTS), read_list(probs, MOST_PARTS)
    if len(names) != len(scores):
        raise ValueError(f"{len(names)} labels and {len(scores)} probabilities")
    results: list[ImageResult] = []
    for position, (name, score) in enumerate(zip(names, scores, strict=True)):
        if name is None and score is None:
            results.append(_failed(failures, position) if failures else ())
        elif name is None or score is None:
            raise ValueError("a label or a probability is missing, or is none")
        else:
            results.append((Category(-1, str(name), _score(score)),))
    return tuple(results)


def _score(score: str | float) -> float:
    """Return a probability, which a web_service.py may have formatted (`"0.92"`).

    Raises:
        ValueError: it is no finite number.
    """
    if isinstance(score, str) and len(score) > LONGEST_NUMBER:
        raise ValueError("a probability is longer than any number")
    number = float(score)
    if not math.isfinite(number):
        raise ValueError("a probability is no finite number")
    return number


def _failed(failures: tuple[_Failure | None, ...], position: int) -> ServingError:
    failure = failures[position] if position < len(failures) else None
    if failure is None:
        raise ValueError(f"image {position} has neither categories nor an error")
    return error_from_wire(failure.err_no, failure.err_msg[:LONGEST_MESSAGE])


def _check_count(count: int) -> None:
    if count > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS} results")


def _reason(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
