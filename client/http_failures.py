"""What a failure over HTTP means: a reply without the envelope, or an error of httpx."""

from __future__ import annotations

import httpx

from client.errors import BadReply
from protocol.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    ServiceNotFound,
    ServingError,
    TooLarge,
    Unauthenticated,
)

CONNECT_TIMEOUT_S = 5.0
# What the status of a reply without an envelope means; it is of a gateway in front of the service.
_GATEWAY_ERRORS: dict[int, type[ServingError]] = {
    401: Unauthenticated,
    404: ServiceNotFound,
    413: TooLarge,
    429: Overloaded,
    503: NotReady,
    504: DeadlineExceeded,
}
# How a server refuses a body that it cannot read. Paddle Serving 0.9's gateway answers a raw image
# with 400 and JSON of its own ("invalid character ... looking for beginning of value").
_BODY_NOT_READ = (400, 415, 422)


class BodyNotRead(BadReply):
    """The server says that it cannot read this form of body."""


def no_envelope(url: str, status: int, body: bytes) -> ServingError:
    """Return the error for a reply that is not the envelope: a gateway's, or another program's.

    The envelope itself is read whatever the status is: 0.9 sends its errors with 200.
    """
    shown = " ".join(body[:60].decode(errors="replace").split())
    kind = BodyNotRead if status in _BODY_NOT_READ else _GATEWAY_ERRORS.get(status, BadReply)
    return kind(
        f"{url} answered HTTP {status} and no serving envelope ({shown!r}); "
        "check host, port and path"
    )


def is_refused(error: BaseException | None) -> bool:
    """Return whether the operating system's error behind httpx's says that nothing listens."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: httpx.TransportError) -> str:
    """Return the operating system's message if there is one, else httpx's, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpx.TimeoutException):
        return f"no connection within {CONNECT_TIMEOUT_S:g} s"
    return str(error).lower() or type(error).__name__
