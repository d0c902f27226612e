"""POST /<service>/prediction: Paddle Serving 0.9's route, bound to the desk.

The Content-Type says which codec reads the body: a raw image, a multipart upload, or the key/value
envelope, also without any.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from protocol.codec import Codec
from protocol.forms import RawCodec, UploadCodec
from protocol.key_value.codec import JsonCodec

from ..admission.desk import Desk
from .call import HttpCall
from .replies import reply_to

_ENVELOPE, _RAW, _UPLOAD = JsonCodec(), RawCodec(), UploadCodec()


def key_value_routes(desk: Desk, max_body_bytes: int) -> list[Route]:
    """Return the route; bodies over `max_body_bytes` are refused."""

    async def predict(request: Request) -> Response:
        call = HttpCall(request, request.path_params["service"], max_body_bytes)
        return await reply_to(desk, call, codec_of(call.content_type))

    return [Route("/{service}/{method}", predict, methods=["POST"])]


def codec_of(content_type: str) -> Codec:
    """Return the codec for bodies of that type."""
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "multipart/form-data":
        return _UPLOAD
    if kind == "application/octet-stream" or kind.startswith("image/"):
        return _RAW
    return _ENVELOPE
