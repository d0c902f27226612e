"""Every error that a caller can get, as one tree, and their numbers on each wire, as one table.

    ServingError
    ├── InvalidRequest          the caller's request is wrong; its text says what to change
    │   ├── UndecodableImage    one image is of no format that is read, or damaged
    │   ├── TooLarge            a body, or an image's pixels, over the limit
    │   ├── UnsupportedEncoding a body is packed in a way that is not read
    │   └── MethodNotAllowed    the route exists, the HTTP method does not
    ├── ServiceNotFound         no service of that name
    ├── Unauthenticated         no API key, or none that is known
    ├── Forbidden               a web page that may not send requests sent one
    ├── RateLimited             this API key has used up its rate; try again later
    ├── Overloaded              the queue is full; try again later
    ├── NotReady                no worker is up yet
    ├── ServiceClosed           the service is stopping
    ├── DeadlineExceeded        no reply within the time allowed
    ├── PredictionFailed        the model or its worker failed; the details are in the log
    └── UnreadableReply         for clients: what came back is not the serving envelope

Numbers below 3004 and the families 4000 to 10000 are Paddle Serving 0.9's (error_catch.py); 3004 to
3008 and 5001 to 5003 are ours. 0.9 answers with err_no inside a Response and status OK, and so do
we; the gRPC status names are for gateways and tools that need one.

Kept clean for Python 3.8: the stages raise these inside the official engine too.
"""

from __future__ import annotations

from typing import Dict, NamedTuple, Type


class ServingError(Exception):
    """Base of every error that travels to a caller; `str(error)` is the text they see."""


class InvalidRequest(ServingError):
    """The request cannot be served as it is, however often it is tried."""


class UndecodableImage(InvalidRequest):
    """One image's bytes are of no format that is read, or are damaged."""


class TooLarge(InvalidRequest):
    """A request body or an image is over the configured limit."""


class UnsupportedEncoding(InvalidRequest):
    """A request body is packed in a way that is not read; its Content-Encoding names it."""


class MethodNotAllowed(InvalidRequest):
    """The address is right, the HTTP method is not."""


class ServiceNotFound(ServingError):
    """No service of that name is served here."""


class Unauthenticated(ServingError):
    """The service requires an API key, and the request has none that it knows."""


class Forbidden(ServingError):
    """The request comes from a web page that may not send any."""


class RateLimited(ServingError):
    """The request's API key has used up what it is allowed for now; nothing was computed."""

    def __init__(self, message: str, retry_after_s: float = 1.0) -> None:
        """`retry_after_s` is how long the caller should wait, in seconds."""
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Overloaded(ServingError):
    """The queue of the service is full; nothing was computed."""


class NotReady(ServingError):
    """The service exists, but none of its workers is up."""


class ServiceClosed(ServingError):
    """The service is stopping and takes no new work."""


class DeadlineExceeded(ServingError):
    """The reply was not there within the time allowed."""


class PredictionFailed(ServingError):
    """The model, or the worker that ran it, failed."""


class UnreadableReply(ServingError):
    """What a client received is not the reply of a serving service."""


class WireCodes(NamedTuple):
    """How one class of error is reported on each wire."""

    err_no: int
    http_status: int
    grpc_status: str  # name of a grpc.StatusCode


OK = WireCodes(0, 200, "OK")
# Of a text that a caller sees; what the caller sent stands in it, and need not be short.
LONGEST_MESSAGE = 1000

# The one table. A class that is not listed is reported as its nearest listed ancestor.
WIRE_CODES: Dict[Type[BaseException], WireCodes] = {
    InvalidRequest: WireCodes(5000, 400, "INVALID_ARGUMENT"),
    UndecodableImage: WireCodes(5001, 400, "INVALID_ARGUMENT"),
    TooLarge: WireCodes(5002, 413, "INVALID_ARGUMENT"),
    UnsupportedEncoding: WireCodes(5003, 415, "UNIMPLEMENTED"),
    MethodNotAllowed: WireCodes(3000, 405, "UNIMPLEMENTED"),
    ServiceClosed: WireCodes(3001, 503, "UNAVAILABLE"),
    ServiceNotFound: WireCodes(3002, 404, "NOT_FOUND"),
    Overloaded: WireCodes(3004, 429, "RESOURCE_EXHAUSTED"),
    NotReady: WireCodes(3005, 503, "UNAVAILABLE"),
    Unauthenticated: WireCodes(3006, 401, "UNAUTHENTICATED"),
    RateLimited: WireCodes(3007, 429, "RESOURCE_EXHAUSTED"),
    Forbidden: WireCodes(3008, 403, "PERMISSION_DENIED"),
    DeadlineExceeded: WireCodes(6000, 504, "DEADLINE_EXCEEDED"),
    PredictionFailed: WireCodes(10000, 500, "INTERNAL"),
    BaseException: WireCodes(10000, 500, "INTERNAL"),
}


def wire_codes(error: BaseException) -> WireCodes:
    """Return the codes of the nearest class of `error` that the table lists."""
    for ancestor in type(error).__mro__:
        if ancestor in WIRE_CODES:
            return WIRE_CODES[ancestor]
    return WIRE_CODES[BaseException]


def public_message(error: BaseException) -> str:
    """Return the text a caller may see: our own errors explained, any other one kept generic."""
    if isinstance(error, ServingError):
        return str(error)[:LONGEST_MESSAGE]
    return "internal error; the service's log has the details"


def error_from_wire(err_no: int, message: str) -> ServingError:
    """Return the typed error a client raises for `err_no`; unknown numbers become ServingError."""
    for kind, codes in WIRE_CODES.items():
        if codes.err_no == err_no and issubclass(kind, ServingError):
            return kind(message)
    return ServingError("{} (err_no {})".format(message, err_no))
