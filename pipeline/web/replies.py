"""HTTP responses: every body is JSON, and the status of an error is that of the one table."""

from __future__ import annotations

import math

from starlette.responses import Response

from protocol.errors import wire_codes

# nginx's number for "the client closed the connection"; nothing is sent.
CLIENT_CLOSED_REQUEST = 499


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
    elif codes.http_status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return json_response(body, codes.http_status, headers)
