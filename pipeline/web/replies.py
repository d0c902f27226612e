"""HTTP responses: every body is JSON, and the status of an error is that of the one table.

`reply_to` is what a binding of any wire calls.
"""

from __future__ import annotations

import math

from starlette.responses import Response

from protocol.codec import Codec
from protocol.errors import wire_codes

from ..admission.call import Call, CallerLeft
from ..admission.content_encoding import ENCODINGS
from ..admission.desk import Desk

# nginx's number for "the client closed the connection"; nothing is sent.
CLIENT_CLOSED_REQUEST = 499


async def reply_to(desk: Desk, call: Call, codec: Codec) -> Response:
    """Return the desk's reply to `call` as a response; an empty one where the caller has left."""
    try:
        reply = await desk.answer(call, codec)
    except CallerLeft:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    if reply.error is not None:
        return error_response(reply.error, reply.body)
    return json_response(reply.body)


def json_response(
    body: bytes, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return a response with a JSON body."""
    return Response(body, status, headers, media_type="application/json")


def error_response(error: BaseException, body: bytes) -> Response:
    """Return a response that reports `error` by its status and headers, and in `body`."""
    codes = wire_codes(error)
    headers = {}
    if codes.http_status in (429, 503):
        headers["Retry-After"] = str(max(1, math.ceil(getattr(error, "retry_after_s", 1))))
    elif codes.http_status == 415:
        headers["Accept-Encoding"] = ", ".join(ENCODINGS)
    elif codes.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(body, codes.http_status, headers)
