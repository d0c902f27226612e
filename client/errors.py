"""Errors before or without a reply of the service; all others are in protocol.errors.

    image file ──▶ request ──▶ connection ──▶ reply ──▶ envelope
    │                          │              │         │
    UnreadableImage            Unreachable    TimedOut  BadReply
                               ConnectionLost

    ServingError (protocol.errors)
    └── ClientError
        ├── UnreadableImage     the file cannot be read here; nothing was sent
        ├── Unreachable         no connection could be made
        │   └── NotListening    nothing listens at the address, or not yet
        ├── ConnectionLost      the connection broke before the reply was complete
        ├── TimedOut            no reply within the caller's timeout (also a DeadlineExceeded)
        └── BadReply           a reply that is not the serving envelope

`except ServingError` catches everything a client raises.
"""

from __future__ import annotations

from protocol.errors import DeadlineExceeded, ServingError, wire_codes

CLIENT_ERR_NO = 9000  # Paddle Serving 0.9's family for errors on the caller's side


class ClientError(ServingError):
    """Base of the errors that the client finds itself."""


class UnreadableImage(ClientError):
    """The image's file cannot be read."""


class Unreachable(ClientError):
    """No connection to the server: refused, unknown host, no route, or a timeout."""


class NotListening(Unreachable):
    """The connection was refused: nothing listens there. A service that starts will soon."""


class ConnectionLost(ClientError):
    """The connection broke after it was made; the image may be sent again without harm."""


class TimedOut(ClientError, DeadlineExceeded):
    """The server did not answer within the client's timeout."""


class BadReply(ClientError):
    """The reply is not the serving envelope: another program, or a gateway, listens there."""


def error_text(error: ServingError) -> str:
    """Return `err_no N: message`, one line; N is the service's number, or 9000 for a ClientError.

    A number that this client does not know is at the end of the message instead.
    """
    message = " ".join(str(error).split())
    if type(error) is ServingError:
        return message
    own = isinstance(error, ClientError) and not isinstance(error, DeadlineExceeded)
    return f"err_no {CLIENT_ERR_NO if own else wire_codes(error).err_no}: {message}"
