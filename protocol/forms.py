"""A raw image or an upload as the body of a request, and short forms of the reply to it.

    paddlex   PaddleX' `model.predict`: [{"category_id": 3, "category": "Glass", "score": 0.98}]
    result    the waste contest's service: {"result": "可回收物/易拉罐"}

A request of one image is answered in the bare form, one of several with a list of them. Without a
form the reply is the key/value envelope, and so is an error of the request as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .codec import Codec, Hints
from .errors import InvalidRequest, ServingError, public_message, wire_codes
from .key_value.reply import error_to_json, reply_to_json
from .multipart import read_multipart
from .options import read_log_id, read_threshold, read_topk
from .reply import ClassifyReply, ImageResult
from .request import ClassifyRequest, encoded

FORMS = ("paddlex", "result")


class _FormsCodec(Codec):
    """The replies that raw images and uploads share."""

    def write(self, reply: ClassifyReply, request: ClassifyRequest) -> bytes:
        """Write the reply in the form that the request names."""
        return reply_in_form(reply, request.form) if request.form else reply_to_json(reply)

    def error(self, error: BaseException) -> bytes:
        """Write the key/value envelope of an error."""
        return error_to_json(error)


class RawCodec(_FormsCodec):
    """The body is the content of one image file; options stand in the address."""

    def parsed_bytes(self, _body: bytes) -> int:
        """Return 0: nothing is parsed."""
        return 0

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Take the body as one image."""
        if not body:
            raise InvalidRequest("the body is empty; send the bytes of one image")
        return _request([body], hints.service, _one_name(hints.options))


class UploadCodec(_FormsCodec):
    """The body is multipart/form-data; every file is an image, other fields are options."""

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Take the files as images, in their order."""
        images, fields = read_multipart(body, hints.content_type)
        if not images:
            raise InvalidRequest("no image in the form; upload at least one file")
        return _request(images, hints.service, {**_one_name(hints.options), **_one_name(fields)})


def _request(images: Sequence[bytes], service: str, options: Mapping[str, str]) -> ClassifyRequest:
    form = options.get("form")
    topk, threshold = read_topk(options.get("topk")), read_threshold(options.get("threshold"))
    return ClassifyRequest(
        images=encoded(images, topk, threshold),
        service=service,
        log_id=read_log_id(options.get("logid")),
        form="" if form is None else check_form(form),
    )


def _one_name(options: Mapping[str, str]) -> dict[str, str]:
    """Return `options` with `logid` for `log_id`: a field takes precedence under both names."""
    return {"logid" if name == "log_id" else name: value for name, value in options.items()}


def check_form(form: str) -> str:
    """Return `form` if it is one of `FORMS`.

    Raises:
        InvalidRequest: it is not.
    """
    if form not in FORMS:
        raise InvalidRequest(f"form must be one of {', '.join(FORMS)}, not {form[:40]!r}")
    return form


def in_form(result: ImageResult, form: str) -> Any:  # noqa: ANN401 - JSON
    """Return one image's result as JSON takes it; an error is {"error": "err_no N: message"}.

    If no category reaches the threshold, the list is empty or the result null.
    """
    if isinstance(result, ServingError):
        return {"error": f"err_no {wire_codes(result).err_no}: {public_message(result)}"}
    if form == "result":
        return {"result": result[0].label if result else None}
    return [{"category_id": c.class_id, "category": c.label, "score": c.score} for c in result]


def reply_in_form(reply: ClassifyReply, form: str) -> bytes:
    """Write the reply to a request as JSON."""
    results = [in_form(result, form) for result in reply.results]
    body = results[0] if len(results) == 1 else results
    return json.dumps(body, ensure_ascii=False).encode()
