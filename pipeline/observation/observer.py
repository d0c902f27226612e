"""One request as it is seen from outside: counted, timed and logged, whatever becomes of it.

with observer.request("http") as seen:
    seen.read(request)           the request, once it has been read
    seen.failed(error)           the reply is an error

Its outcome is "ok", or one word of `OUTCOMES`.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from protocol.errors import WIRE_CODES, ServingError, wire_codes
from protocol.request import ClassifyRequest

from .metrics import Metrics
from .request_log import RequestLine, RequestLog
from .tracing import Tracing

OK, ABANDONED, INTERNAL_ERROR = "ok", "abandoned", "internal_error"
# The label of requests whose service does not exist: names that callers make up are no labels.
NO_SERVICE = "unknown"


def _in_words(kind: type[BaseException]) -> str:
    """Return "invalid_request" for InvalidRequest."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in kind.__name__).lstrip("_")


_ERRORS = {kind: _in_words(kind) for kind in WIRE_CODES if issubclass(kind, ServingError)}
OUTCOMES = (OK, *_ERRORS.values(), ABANDONED, INTERNAL_ERROR)


class Observer:
    """Makes an `Observation` of each request."""

    def __init__(self, metrics: Metrics, log: RequestLog, tracing: Tracing) -> None:
        self.metrics = metrics
        self.log = log
        self.tracing = tracing

    def request(self, protocol: str, client: str, trace_parent: str | None = None) -> Observation:
        """Begin with a request that came over `protocol` ("http", "rpc") from address `client`."""
        return Observation(self, protocol, client, trace_parent)

    def no_request(self, error: ServingError) -> None:
        """Count bytes over HTTP that are no request; they are not logged."""
        self.metrics.request_done(NO_SERVICE, "http", _outcome(error), 0.0)

    def refused(self, error: ServingError, client: str) -> None:
        """Count and log a request over HTTP that was to no service."""
        self.record(
            RequestLine(
                service=NO_SERVICE,
                protocol="http",
                outcome=_outcome(error),
                err_no=wire_codes(error).err_no,
                images=0,
                log_id=0,
                seconds=0.0,
                client=client,
            )
        )

    def record(self, line: RequestLine, key: str | None = None) -> None:
        """Count and log one request, of the API key of that name; the log does not have it."""
        self.metrics.request_done(line.service, line.protocol, line.outcome, line.seconds)
        if key is not None:
            self.metrics.keyed_request_done(key, line.service, line.outcome)
        self.log.write(line)


class Observation:
    """A context: what has happened when it ends is counted and logged."""

    __slots__ = (
        "_began",
        "_client",
        "_error",
        "_key",
        "_observer",
        "_protocol",
        "_request",
        "_service",
        "_span",
        "_trace_parent",
    )

    def __init__(
        self, observer: Observer, protocol: str, client: str, trace_parent: str | None
    ) -> None:
        self._observer = observer
        self._protocol = protocol
        self._client = client
        self._trace_parent = trace_parent
        self._service = NO_SERVICE
        self._key: str | None = None
        self._request: ClassifyRequest | None = None
        self._error: BaseException | None = None

    def found(self, service: str | None) -> None:
        """The service there is for it, None if there is none, or it is not known yet."""
        self._service = service or NO_SERVICE

    def identified(self, key: str) -> None:
        """The name of its API key."""
        self._key = key

    def read(self, request: ClassifyRequest) -> None:
        """The request, when it has been read."""
        self._request = request

    def failed(self, error: BaseException) -> None:
        """The error that is its reply."""
        self._error = error

    def __enter__(self) -> Observation:
        self._began = time.monotonic()
        self._span = self._observer.tracing.begin(self._protocol, self._trace_parent)
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        error = self._error or error
        seconds = time.monotonic() - self._began
        outcome = _outcome(error)
        request = self._request
        line = RequestLine(
            service=self._service,
            protocol=self._protocol,
            outcome=outcome,
            # A caller that has gone gets no reply.
            err_no=0 if error is None or outcome == ABANDONED else wire_codes(error).err_no,
            images=len(request.images) if request is not None else 0,
            log_id=request.log_id if request is not None else 0,
            seconds=seconds,
            client=self._client,
        )
        self._observer.record(line, self._key)
        self._span.end(line)
        # The error's traceback refers to the frame that refers to this object: images would stay
        # in memory until the garbage collector runs.
        self._error = self._request = None


def _outcome(error: BaseException | None) -> str:
    """Return "ok", or the error's class in words; of one that no caller knows, its ancestor's."""
    if error is None:
        return OK
    if isinstance(error, asyncio.CancelledError):
        return ABANDONED
    return next((_ERRORS[kind] for kind in type(error).__mro__ if kind in _ERRORS), INTERNAL_ERROR)
