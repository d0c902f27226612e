"""What can go wrong before or without an answer of the service; the rest is protocol.errors.

    image file ──▶ request ──▶ connection ──▶ answer ──▶ envelope
    │                            │              │          │
    UnreadableImage            Unreachable    TimedOut   BadAnswer
                                 ConnectionLost

    ServingError (protocol.errors)
    └── ClientError
        ├── UnreadableImage   the file cannot be read here; nothing was sent
        ├── Unreachable         no connection came about
        ├── ConnectionLost      the connection broke before the answer was whole
        ├── TimedOut            no answer within the time the caller allows (a DeadlineExceeded too)
        └── BadAnswer           something answered, but not with the serving envelope

`except ServingError` catches everything a client raises.
"""

from __future__ import annotations

from protocol.errors import DeadlineExceeded, ServingError, wire_codes

CLIENT_ERR_NO = 9000  # Paddle Serving 0.9's family for errors on the caller's side


class ClientError(ServingError):
    """Base of what the client finds out by itself."""


class UnreadableImage(ClientError):
    """The image's file cannot be read."""


class Unreachable(ClientError):
    """No connection to the server: refused, unknown host, no route, or nothing listens in time."""


class ConnectionLost(ClientError):
    """The connection was there and broke; the image may be sent again without harm."""


class TimedOut(ClientError, DeadlineExceeded):
    """The server did not answer within the client's timeout."""


class BadAnswer(ClientError):
    """The answer is not the serving envelope: another program, or a gateway, listens there."""


def error_text(error: ServingError) -> str:
    """Return `err_no N: message`, one line; N is the service's number, or 9000 for our own.

    A number of the service that is unknown here stands at the end of the message instead.
    """
    message = " ".join(str(error).split())
    if type(error) is ServingError:
        return message
    own = isinstance(error, ClientError) and not isinstance(error, DeadlineExceeded)
    return f"err_no {CLIENT_ERR_NO if own else wire_codes(error).err_no}: {message}"
