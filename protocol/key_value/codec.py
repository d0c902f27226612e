"""0.9's wire as codecs: the JSON envelope, and PipelineService's messages."""

from __future__ import annotations

import json

from ..codec import Codec, Hints
from ..errors import InvalidRequest
from ..reply import ClassifyReply
from ..request import ClassifyRequest
from .reply import error_to_json, error_to_proto, reply_to_json, reply_to_proto
from .request import request_from_json, request_from_message
from .sizes import check_proto_size


class JsonCodec(Codec):
    """The envelope {"key": [...], "value": [...]} of `POST /<service>/prediction`."""

    def extra_bytes(self, body: bytes) -> int:
        """Return the size of a body that is not UTF-8: it is copied."""
        return 0 if json.detect_encoding(body) == "utf-8" else len(body)

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Read the envelope."""
        if "form" in hints.options:
            raise InvalidRequest(
                "form goes with an upload, or with an image as the body; this body is read as the"
                " key/value envelope, whose reply is always the envelope: leave form out"
            )
        return request_from_json(body, hints)

    def write(self, reply: ClassifyReply, _request: ClassifyRequest) -> bytes:
        """Write the five-field reply."""
        return reply_to_json(reply)

    def error(self, error: BaseException) -> bytes:
        """Write the five-field reply with the error's number and message."""
        return error_to_json(error)


class ProtoCodec(Codec):
    """Request and Response of `PipelineService.inference`; an error stands in `err_no`."""

    def service_in(self, body: bytes, hints: Hints) -> str:
        """Return the name in the message; "" means the only service."""
        return check_proto_size(body, hints)

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        """Read a Request that `service_in` has let pass."""
        return request_from_message(body, hints)

    def write(self, reply: ClassifyReply, _request: ClassifyRequest) -> bytes:
        """Write the Response."""
        return reply_to_proto(reply).SerializeToString()

    def error(self, error: BaseException) -> bytes:
        """Write a Response with the error's number and message."""
        return error_to_proto(error).SerializeToString()
