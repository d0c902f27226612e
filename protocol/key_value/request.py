"""A request to classify pictures, to and from the key/value envelope of Paddle Serving 0.9.

    JSON body or protobuf Request  <->  ClassifyRequest   (or InvalidRequest)

Every key but an option is one picture, in order, also where keys repeat; `topk` and `threshold` are
options. Only here are base64 and the names of request keys known.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any, cast

from google.protobuf.message import DecodeError

from ..errors import InvalidRequest
from ..request import ClassifyRequest
from . import pipeline_service_pb2 as pb
from .base64_text import decode_base64
from .json_body import LongString, load_json
from .proto_body import load_proto
from .sizes import check_proto_size

TOPK = "topk"
THRESHOLD = "threshold"
PROFILE = "pipeline.profile"  # asks 0.9 for profile data; accepted, and no picture
OPTIONS = frozenset({TOPK, THRESHOLD, PROFILE})


def request_from_json(
    body: bytes,
    service: str,
    *,
    topk: object = None,
    threshold: object = None,
    log_id: object = None,
) -> ClassifyRequest:
    """Read a `POST /<service>/prediction` body.

    Options that the body leaves open are taken from the arguments, as `request_from_images` does.

    Raises:
        InvalidRequest: the body is not the envelope; the text says which part and how it should be.
    """
    keys, values, own_log_id = _json_fields(body)
    images = []
    options: dict[str, Any] = {TOPK: _topk(topk), THRESHOLD: _threshold(threshold)}
    outer_log_id = _log_id(log_id)
    for position, (key, value) in enumerate(zip(keys, values, strict=True)):
        if key in OPTIONS:
            options[key] = value.start() if isinstance(value, LongString) else value
        elif isinstance(value, (str, LongString)):
            images.append(_decode_base64(value, key, position))
        else:
            raise InvalidRequest(
                f"value[{position}] (key {_shown(key)}) must be a base64 string of the "
                f"picture's bytes, got {_json_type(value)}"
            )
    return _request(images, service, options, own_log_id or outer_log_id)


def request_from_message(data: bytes) -> ClassifyRequest:
    """Read a gRPC Request as it came, as `request_from_proto` does.

    Raises:
        InvalidRequest: it is no Request, or one of far more parts than a request for pictures has;
            or as `request_from_json`.
    """
    check_proto_size(data)
    try:
        message, values = load_proto(data)
    except DecodeError as error:
        raise InvalidRequest("the message is no Request of Paddle Serving's protocol") from error
    return _request_from_proto(message, values)


def request_from_proto(message: pb.Request) -> ClassifyRequest:
    """Read a gRPC Request: base64 in `value`, or picture bytes in a tensor's `byte_data`.

    Raises:
        InvalidRequest: as `request_from_json`.
    """
    return _request_from_proto(message, message.value)


def _request_from_proto(message: pb.Request, values: Sequence[str | LongString]) -> ClassifyRequest:
    if len(message.key) != len(message.value):
        raise InvalidRequest(
            f"key has {len(message.key)} entries and value has {len(message.value)}; "
            "each key needs its value"
        )
    images = []
    options: dict[str, Any] = {}
    for position, (key, value) in enumerate(zip(message.key, values, strict=True)):
        if key in OPTIONS:
            options[key] = value.start() if isinstance(value, LongString) else value
        else:
            images.append(_decode_base64(value, key, position))
    for tensor in message.tensors:
        images.extend(_tensor_images(tensor))
    return _request(images, message.name, options, message.logid)


def request_from_images(
    images: Sequence[bytes],
    service: str,
    *,
    topk: object = None,
    threshold: object = None,
    log_id: object = None,
) -> ClassifyRequest:
    """Build a request from raw picture bytes (a raw body or a multipart upload) and raw options.

    Options may be text, as they stand in a query string.
    """
    options = {TOPK: topk, THRESHOLD: threshold}
    return _request(list(images), service, options, _log_id(log_id))


def request_to_json(request: ClassifyRequest) -> bytes:
    """Write the body that `request_from_json` reads; the first image's key is `image`."""
    keys, values = _envelope(request)
    # Base64 and numbers have nothing that JSON escapes. Joining copies each image once; json.dumps
    # and its encoding would copy it three times.
    parts = [b'{"key": ', json.dumps(keys).encode(), b', "value": [']
    for position, value in enumerate(values):
        parts += [b', "' if position else b'"', value, b'"']
    parts.append(b"]")
    if request.log_id:
        parts.append(b', "logid": %d' % request.log_id)
    return b"".join([*parts, b"}"])


def request_to_proto(request: ClassifyRequest) -> pb.Request:
    """Write the message that `request_from_proto` and a 0.9 server read."""
    keys, values = _envelope(request)
    return pb.Request(
        key=keys,
        # A string field takes the bytes of UTF-8 too: without a str there is one copy less.
        value=cast("list[str]", values),
        name=request.service,
        method="prediction",
        logid=request.log_id,
    )


def _envelope(request: ClassifyRequest) -> tuple[list[str], list[bytes]]:
    """Return the keys, and for each its value as text in ASCII."""
    single = len(request.images) == 1
    keys = ["image" if single else f"image_{i}" for i in range(len(request.images))]
    values = [base64.b64encode(image) for image in request.images]
    for key, value in ((TOPK, request.topk), (THRESHOLD, request.threshold)):
        if value is not None:
            keys.append(key)
            values.append(str(value).encode())
    return keys, values


def _request(
    images: list[bytes], service: str, options: dict[str, Any], log_id: int
) -> ClassifyRequest:
    if not images:
        raise InvalidRequest("no picture in the request; give at least one key with its value")
    return ClassifyRequest(
        images=tuple(images),
        service=service,
        topk=_topk(options.get(TOPK)),
        threshold=_threshold(options.get(THRESHOLD)),
        log_id=log_id,
    )


def _json_fields(body: bytes) -> tuple[list[str], list[Any], int]:
    if not body:
        raise InvalidRequest('the body is empty; send {"key": ["image"], "value": ["<base64>"]}')
    try:
        fields = load_json(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidRequest(f"the body must be a JSON object, got {_json_type(fields)}")
    for name in ("key", "value"):
        if name not in fields:
            raise InvalidRequest(
                f'"{name}" is missing; send {{"key": ["image"], "value": ["<base64>"]}}'
            )
        if not isinstance(fields[name], list):
            raise InvalidRequest(f'"{name}" must be a list, got {_json_type(fields[name])}')
    keys, values = fields["key"], fields["value"]
    if len(keys) != len(values):
        raise InvalidRequest(
            f"key has {len(keys)} entries and value has {len(values)}; each key needs its value"
        )
    if not all(isinstance(key, str) for key in keys):
        raise InvalidRequest("every entry of key must be a string")
    if fields.get("tensors"):
        raise InvalidRequest("tensors are read over RPC only; over HTTP send base64 in value")
    return keys, values, _log_id(fields.get("logid", fields.get("log_id")))


def _decode_base64(text: str | LongString, key: str, position: int) -> bytes:
    try:
        return text.decoded() if isinstance(text, LongString) else decode_base64(text)
    except ValueError as error:
        raise InvalidRequest(
            f"value[{position}] (key {_shown(key)}) is not base64: {str(error).lower()}"
        ) from error


def _tensor_images(tensor: pb.Tensor) -> list[bytes]:
    where = f"tensor {_shown(tensor.name)}"
    if tensor.str_data:
        return [_decode_base64(text, tensor.name, i) for i, text in enumerate(tensor.str_data)]
    if not tensor.byte_data:
        raise InvalidRequest(
            f"{where} holds no picture; send encoded pictures in value, str_data or byte_data"
        )
    if tensor.byte_data.startswith(b"\x93NUMPY"):
        raise InvalidRequest(
            f"{where} is a numpy array; this service takes encoded pictures (JPEG, PNG ...)"
        )
    return [tensor.byte_data]


def _topk(value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        topk = int(str(value)) if isinstance(value, (str, int)) else -1
    except ValueError:
        topk = -1
    if isinstance(value, bool) or topk < 1:
        raise InvalidRequest(f"topk must be a whole number of at least 1, got {_shown(value)}")
    return topk


def _threshold(value: object) -> float | None:
    if value is None or value == "":
        return None
    try:
        threshold = float(str(value)) if isinstance(value, (str, int, float)) else -1.0
    except ValueError:
        threshold = -1.0
    if isinstance(value, bool) or not 0.0 <= threshold <= 1.0:
        raise InvalidRequest(f"threshold must be a number from 0 to 1, got {_shown(value)}")
    return threshold


def _log_id(value: object) -> int:
    if value is None or value == "":
        return 0
    try:
        log_id = int(str(value)) if isinstance(value, (str, int)) else None
    except ValueError:
        log_id = None
    if log_id is None or isinstance(value, bool) or not -(2**63) <= log_id < 2**63:
        raise InvalidRequest(f"logid must be a whole number of 64 bits, got {_shown(value)}")
    return log_id


def _shown(value: object) -> str:
    text = repr(value[:40] if isinstance(value, str) else value)
    return text if len(text) <= 40 else text[:37] + "..."


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return names.get(type(value), "a number")
