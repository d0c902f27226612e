"""A reply that the connection itself writes, and after which it is closed."""

from __future__ import annotations

from http import HTTPStatus

from protocol import errors
from protocol.errors import ServingError


def last_reply(error: ServingError, body: bytes) -> bytes:
    """Return head and body of the reply that reports `error`; `body` is JSON."""
    status = HTTPStatus(errors.wire_codes(error).http_status)
    later = "Retry-After: 1\r\n" if status == HTTPStatus.TOO_MANY_REQUESTS else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{later}Connection: close\r\n\r\n"
    )
    return head.encode() + body
