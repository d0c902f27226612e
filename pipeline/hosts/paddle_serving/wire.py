"""Request and reply of Paddle Serving 0.9 inside the official engine, as `protocol` has them.

`protocol.key_value` needs Python 3.10. This module has the small part of it that the official
engine's ops need, for Python 3.8; tests/conformance compares the two.

    Request  ->  images and options            (or InvalidRequest: which part, and how it should be)
    results  ->  label, prob, topk, errors     (JSON texts)
"""

from __future__ import annotations

import base64
import json
from typing import Any, List, Mapping, NamedTuple, Sequence, Tuple, Union

from protocol.base64_repair import repaired
from protocol.errors import InvalidRequest, ServingError, public_message, wire_codes
from protocol.option_names import KEY_RULE, OPTION_KEYS, check_key

Categories = List[Tuple[int, str, float]]  # class_id, label, score
Result = Union[Categories, ServingError]


class RequestFields(NamedTuple):
    """The encoded images of one request, in order, and the options of its reply."""

    images: List[bytes]
    topk: int | None
    threshold: float | None


def read_request(message: Any) -> RequestFields:  # noqa: ANN401 - the official engine's Request
    """Read a Request: base64 in `value`, or image bytes in a tensor.

    Raises:
        InvalidRequest: the text says which part is wrong and how it should be.
    """
    if len(message.key) != len(message.value):
        raise InvalidRequest(
            "key has {} entries and value has {}; each key needs its value".format(
                len(message.key), len(message.value)
            )
        )
    images = []
    options = {}
    for position, (key, value) in enumerate(zip(message.key, message.value)):
        if key in OPTION_KEYS:
            options[key] = value
        else:
            check_key(key)
            images.append(_decode_base64(value, key, position))
    for tensor in message.tensors:
        images.extend(_tensor_images(tensor))
    if not images:
        raise InvalidRequest("no image in the request; give at least one key with its value")
    return RequestFields(images, _topk(options.get("topk")), _threshold(options.get("threshold")))


def reply_fields(results: Sequence[Result]) -> Mapping[str, str]:
    """Return the keys and JSON texts that answer `results`, one an image, in order."""
    best = [
        result[0] if not isinstance(result, ServingError) and result else None for result in results
    ]
    fields: dict[str, list[Any]] = {
        "label": [one and one[1] for one in best],
        "prob": [one and one[2] for one in best],
        "topk": [
            None
            if isinstance(result, ServingError)
            else [{"class_id": c, "label": label, "score": score} for c, label, score in result]
            for result in results
        ],
    }
    if any(isinstance(result, ServingError) for result in results):
        fields["errors"] = [
            {"err_no": wire_codes(result).err_no, "err_msg": public_message(result)}
            if isinstance(result, ServingError)
            else None
            for result in results
        ]
    return {key: json.dumps(value, ensure_ascii=False) for key, value in fields.items()}


def _decode_base64(text: str, key: str, position: int) -> bytes:
    try:
        try:
            # What needs no repair; line breaks and the head of a data URL do.
            return base64.b64decode(text, validate=True)
        except ValueError:
            return base64.b64decode(repaired(text.encode(errors="replace")), validate=True)
    except ValueError as error:
        reason = str(error)
        raise InvalidRequest(
            "value[{}] (key {!r}) is not base64: {}; {}".format(
                position, key, reason[:1].lower() + reason[1:], KEY_RULE
            )
        ) from error


def _tensor_images(tensor: Any) -> list[bytes]:  # noqa: ANN401 - the official engine's Tensor
    """Return encoded images; what 0.9's own RequestOp would unpickle is refused."""
    where = "tensor {!r}".format(tensor.name)
    if tensor.str_data:
        return [_decode_base64(text, tensor.name, i) for i, text in enumerate(tensor.str_data)]
    if not tensor.byte_data:
        raise InvalidRequest(
            "{} holds no image; send encoded images in value, str_data or byte_data".format(where)
        )
    if tensor.byte_data.startswith(b"\x93NUMPY"):
        raise InvalidRequest(
            "{} is a numpy array; this service takes encoded images (JPEG, PNG ...)".format(where)
        )
    return [tensor.byte_data]


def _topk(value: str | None) -> int | None:
    if not value:
        return None
    try:
        topk = int(value)
    except ValueError:
        topk = -1
    if topk < 1:
        raise InvalidRequest(
            "topk must be a whole number of at least 1, got {}".format(_shown(value))
        )
    return topk


def _threshold(value: str | None) -> float | None:
    if not value:
        return None
    try:
        threshold = float(value)
    except ValueError:
        threshold = -1.0
    if not 0.0 <= threshold <= 1.0:
        raise InvalidRequest("threshold must be a number from 0 to 1, got {}".format(_shown(value)))
    return threshold


def _shown(value: str) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
