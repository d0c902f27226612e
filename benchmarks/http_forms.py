"""How one image is sent over HTTP, and how the reply is read: ours, and those of other services."""

from __future__ import annotations

import ast
import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.key_value.received import reply_from_json
from protocol.reply import Category, ClassifyReply

_BOUNDARY = "boundary-of-the-benchmark"

Read = Callable[[bytes], ClassifyReply]


@dataclass(frozen=True)
class HttpForm:
    """A form of requests and replies.

    `body` returns content type and body for one encoded image; `reader`, given the labels of the
    classes, returns the function that reads a reply.
    """

    body: Callable[[bytes], tuple[str, bytes]]
    reader: Callable[[Sequence[str]], Read]


def http_message(path: str, content_type: str, body: bytes) -> bytes:
    """Return a whole request."""
    return (
        f"POST {path} HTTP/1.1\r\nHost: benchmark\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def _base64(image: bytes) -> str:
    return base64.b64encode(image).decode("ascii")


def _key_value(image: bytes) -> tuple[str, bytes]:
    return "application/json", json.dumps({"key": ["image"], "value": [_base64(image)]}).encode()


def _paddlex(image: bytes) -> tuple[str, bytes]:
    tree = {"image": _base64(image), "topk": 1, "visualize": False}
    return "application/json", json.dumps(tree).encode()


def _raw(image: bytes) -> tuple[str, bytes]:
    return "image/jpeg", image


def _upload(field: str) -> Callable[[bytes], tuple[str, bytes]]:
    head = (
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"; filename="a.jpg"\r\n'
        "Content-Type: image/jpeg\r\n\r\n"
    ).encode()
    tail = f"\r\n--{_BOUNDARY}--\r\n".encode()
    return lambda image: (f"multipart/form-data; boundary={_BOUNDARY}", head + image + tail)


def _one(class_id: int, score: float) -> ClassifyReply:
    return ClassifyReply(((Category(class_id, "", score),),))


def _class_and_score(body: bytes) -> ClassifyReply:
    """Read `{"class_id": 3, "score": 0.9}`, which the peers' files reply, alone or in a list."""
    tree: Any = json.loads(body)
    best = tree[0] if isinstance(tree, list) else tree
    # BentoML makes both floats, as its file's types say.
    return _one(int(best["class_id"]), best["score"])


def _categories(body: bytes) -> ClassifyReply:
    best = json.loads(body)["result"]["categories"][0]
    return _one(best["id"], best["score"])


def _label_and_probability(labels: Sequence[str]) -> Read:
    """Read replies of servers on Paddle Serving 0.9: values are lists as Python prints them."""

    def read(body: bytes) -> ClassifyReply:
        tree = json.loads(body)
        values = dict(zip(tree["key"], tree["value"], strict=True))
        label, score = (ast.literal_eval(values[name])[0] for name in ("label", "prob"))
        return _one(labels.index(label), score)

    return read


HTTP_FORMS = {
    "http": HttpForm(_key_value, lambda _: reply_from_json),
    "raw": HttpForm(_raw, lambda _: reply_from_json),
    "peer-raw": HttpForm(_raw, lambda _: _class_and_score),
    "peer-upload": HttpForm(_upload("image"), lambda _: _class_and_score),
    "peer-uploads": HttpForm(_upload("images"), lambda _: _class_and_score),
    "paddlex": HttpForm(_paddlex, lambda _: _categories),
    "paddle-serving": HttpForm(_key_value, _label_and_probability),
}
