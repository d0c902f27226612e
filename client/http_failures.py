"""What a failure over HTTP means: a reply without the envelope, or an error of httpcore."""

from __future__ import annotations

import httpcore

from client.errors import BadReply
from client.http_exchange import HttpReply
from protocol.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    ServiceNotFound,
    ServingError,
    TooLarge,
    Unauthenticated,
)
from protocol.escaping import escaped_line, excerpt

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


def no_envelope(url: str, reply: HttpReply) -> ServingError:
    """Return the error for a reply that is not the envelope: a gateway's, or another program's.

    The envelope itself is read whatever the status is: 0.9 sends its errors with 200.
    """
    status = reply.status
    kind = BodyNotRead if status in _BODY_NOT_READ else _GATEWAY_ERRORS.get(status, BadReply)
    leads = f", which leads to {excerpt(reply.location)}" if reply.location else ""
    return kind(
        f"{url} answered HTTP {status}{leads} and no serving envelope ({excerpt(reply.body)}); "
        "check host, port and path"
    )


def is_refused(error: BaseException | None) -> bool:
    """Return whether the operating system's error behind httpcore's says that nothing listens."""
    while error is not None:
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def reason_of(error: Exception) -> str:
    """Return the operating system's message if there is one, else httpcore's, in one line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror.lower()
        cause = cause.__cause__ or cause.__context__
    if isinstance(error, httpcore.TimeoutException):
        return "no connection in time"
    return escaped_line(str(error)[:200]).lower() or type(error).__name__
