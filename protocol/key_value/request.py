"""A request to classify images, to and from the key/value envelope of Paddle Serving 0.9.

    JSON body or protobuf Request  <->  ClassifyRequest   (or InvalidRequest)

Every key but an option is one image, in order, also where keys repeat; `topk` and `threshold` are
options. Only here are base64 and the names of request keys known.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from google.protobuf.message import DecodeError

from ..codec import Hints, NotQuick
from ..errors import InvalidRequest
from ..option_names import KEY_RULE, OPTION_KEYS, THRESHOLD, TOPK, check_key, check_query
from ..options import read_log_id, read_threshold, read_topk, shown
from ..request import ClassifyRequest, EncodedImage, check_images, encoded
from . import pipeline_service_pb2 as pb
from .base64_text import decode_base64
from .json_body import QUICK_BYTES, LongNumber, LongString, load_json
from .proto_body import ImageTensor, load_proto

# A field of the requests that other servers read.
_OTHER_WIRES = {
    "image": "PaddleX 3",
    "images": "PaddleHub Serving",
    "feed": "Paddle Serving's WebService without a pipeline",
    "inputs": "KServe v2 and Triton",
    "instances": "KServe v1 and TensorFlow Serving",
}
_PYTHON_REPR = re.compile(rb"\s*[{\[]\s*'")
# Base64 that needs a repair is read within a millisecond up to this size of a body.
QUICK_REPAIR_BYTES = 64 * 1024
_QUICK_IMAGES = 100
SEND = 'send {"key": ["image"], "value": ["<base64>"]}'
_THREE_FORMS = (
    f"{SEND}, the image itself (curl --data-binary @a.jpg), or an upload (curl -F image=@a.jpg)"
)


def request_from_json(body: bytes, hints: Hints) -> ClassifyRequest:
    """Read a `POST /<service>/prediction` body.

    Options that the body leaves open are taken from the hints: `topk`, `threshold`, `logid`.

    Raises:
        InvalidRequest: the body is not the envelope; the text says which part and how it should be.
        NotQuick: the hints say that it must be quick, and it cannot be.
    """
    keys, values, log_id = _json_fields(body, hints)
    defaults = hints.options
    check_query(defaults)
    options: dict[str, Any] = {
        TOPK: read_topk(defaults.get(TOPK)),
        THRESHOLD: read_threshold(defaults.get(THRESHOLD)),
    }
    default_log_id = read_log_id(defaults.get("log_id", defaults.get("logid")))
    images = _images(keys, values, options, hints, plain=_plain_only(body, hints))
    return _request(images, hints.service, options, log_id or default_log_id)


def request_from_message(data: bytes, hints: Hints) -> ClassifyRequest:
    """Read a serialised Request, which has passed `sizes.check_proto_size`.

    An image is base64 in `value`, or the bytes of a tensor's `byte_data`. `hints.service` is the
    one that the name in the message means.

    Raises:
        InvalidRequest: it is no Request; or as `request_from_json`.
        NotQuick: as `request_from_json`.
    """
    if hints.quick and len(data) > QUICK_BYTES:
        raise NotQuick
    try:
        message, values, tensors = load_proto(data, quick=hints.quick)
    except DecodeError as error:
        raise InvalidRequest("the message is no Request of Paddle Serving's protocol") from error
    if len(message.key) != len(message.value):
        raise InvalidRequest(
            f"key has {len(message.key)} entries and value has {len(message.value)}; "
            "each key needs its value"
        )
    options: dict[str, Any] = {}
    plain = _plain_only(data, hints)
    images = _images(message.key, values, options, hints, plain=plain)
    check_images(len(images) + sum(len(tensor.texts) or 1 for tensor in tensors), hints.max_images)
    for tensor in tensors:
        images.extend(_tensor_images(tensor, plain=plain))
    return _request(images, hints.service, options, message.logid)


def _plain_only(body: bytes, hints: Hints) -> bool:
    """Whether base64 that needs a repair takes too long."""
    return hints.quick and len(body) > QUICK_REPAIR_BYTES


def request_to_json(request: ClassifyRequest) -> bytes:
    """Write the body that `request_from_json` reads; the first image's key is `image`.

    Raises:
        ValueError: its images differ in their options, which the envelope cannot say.
    """
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
    """Write the message that a 0.9 server reads too.

    Raises:
        ValueError: as `request_to_json`.
    """
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
    values = [base64.b64encode(image.data) for image in request.images]
    for key, value in _options(request.images):
        if value is not None:
            keys.append(key)
            values.append(str(value).encode())
    return keys, values


def _options(images: Sequence[EncodedImage]) -> list[tuple[str, float | None]]:
    """Return the options that all `images` share."""
    different = {image[1:] for image in images}
    if len(different) > 1:
        raise ValueError("the key/value envelope has one topk and one threshold for all images")
    return [(TOPK, topk) for topk, _ in different] + [(THRESHOLD, least) for _, least in different]


def _images(
    keys: Sequence[str],
    values: Sequence[Any],
    options: dict[str, Any],
    hints: Hints,
    *,
    plain: bool,
) -> list[bytes]:
    """Return the images of the envelope, and put its options into `options`."""
    check_images(sum(key not in OPTION_KEYS for key in keys), hints.max_images)
    if hints.quick and len(keys) > _QUICK_IMAGES:
        raise NotQuick
    images = []
    for position, (key, value) in enumerate(zip(keys, values, strict=True)):
        if key in OPTION_KEYS:
            options[key] = value.start() if isinstance(value, (LongString, LongNumber)) else value
            continue
        check_key(key)
        if not isinstance(value, (str, LongString)):
            raise InvalidRequest(
                f"value[{position}] (key {shown(key)}) must be a base64 string of the "
                f"image's bytes, got {_json_type(value)}; {KEY_RULE}"
            )
        images.append(_decode_base64(value, key, position, plain=plain))
    return images


def _request(
    images: list[bytes], service: str, options: Mapping[str, Any], log_id: int
) -> ClassifyRequest:
    if not images:
        raise InvalidRequest("no image in the request; give at least one key with its value")
    topk, threshold = read_topk(options.get(TOPK)), read_threshold(options.get(THRESHOLD))
    return ClassifyRequest(encoded(images, topk, threshold), service, log_id)


def _json_fields(body: bytes, hints: Hints) -> tuple[list[str], list[Any], int]:
    if not body:
        raise InvalidRequest(f"the body is empty; {_THREE_FORMS}")
    try:
        fields = load_json(body, hints)
    except (ValueError, RecursionError) as error:
        if _PYTHON_REPR.match(body[:100]):
            raise InvalidRequest(
                "the body is Python's repr and no JSON; send json.dumps(...), or give requests "
                "json=... in place of data=..."
            ) from error
        raise InvalidRequest(f"the body is not JSON ({error}); {_THREE_FORMS}") from error
    fields = _checked_envelope(fields)
    keys, values = fields["key"], fields["value"]
    if len(keys) != len(values):
        raise InvalidRequest(
            f"key has {len(keys)} entries and value has {len(values)}; each key needs its value"
        )
    if not all(isinstance(key, str) for key in keys):
        raise InvalidRequest("every entry of key must be a string")
    if fields.get("tensors"):
        raise InvalidRequest("tensors are read over RPC only; over HTTP send base64 in value")
    log_id = fields.get("logid", fields.get("log_id"))
    if isinstance(log_id, (LongNumber, LongString)):
        log_id = log_id.start()
    return keys, values, read_log_id(log_id)


def _decode_base64(text: str | LongString, key: str, position: int, *, plain: bool) -> bytes:
    try:
        if isinstance(text, LongString):
            return text.decoded(plain=plain)
        return decode_base64(text, plain=plain)
    except ValueError as error:
        raise InvalidRequest(
            f"value[{position}] (key {shown(key)}) is not base64: {_lower(error)}; {KEY_RULE}"
        ) from error


def _checked_envelope(fields: object) -> dict[str, Any]:
    """Return the fields if there are two lists; else say what is sent instead."""
    if not isinstance(fields, dict):
        twice = isinstance(fields, str) and fields[:100].lstrip().startswith("{")
        got = "a string that holds JSON: it was encoded twice" if twice else _json_type(fields)
        raise InvalidRequest(f"the body must be a JSON object, got {got}; {SEND}")
    for name in ("key", "value"):
        if name not in fields:
            other = next((whose for mark, whose in _OTHER_WIRES.items() if mark in fields), "")
            known = (
                f"; this is a request to {other}, which this address does not read" if other else ""
            )
            raise InvalidRequest(f'"{name}" is missing{known}; {SEND}')
        if not isinstance(fields[name], list):
            raise InvalidRequest(f'"{name}" must be a list, got {_json_type(fields[name])}; {SEND}')
    return fields


def _lower(error: ValueError) -> str:
    """Return the text without its capital letter, as part of a sentence."""
    text = str(error)
    return text[:1].lower() + text[1:]


def _tensor_images(tensor: ImageTensor, *, plain: bool) -> list[bytes]:
    where = f"tensor {shown(tensor.name)}"
    if tensor.texts:
        return [
            _decode_base64(text, tensor.name, i, plain=plain) for i, text in enumerate(tensor.texts)
        ]
    if not tensor.data:
        raise InvalidRequest(
            f"{where} holds no image; send encoded images in value, str_data or byte_data"
        )
    if tensor.data.startswith(b"\x93NUMPY"):
        raise InvalidRequest(
            f"{where} is a numpy array; this service takes encoded images (JPEG, PNG ...)"
        )
    return [tensor.data]


def _json_type(value: object) -> str:
    if value is None:
        return "null"
    names = {dict: "an object", list: "a list", str: "a string", bool: "true or false"}
    return names.get(type(value), "a number")
