"""HTTP connections with bounds: uvicorn's protocol, which gets one request at a time.

uvicorn bounds the wait between two requests only. Here every wait for a client has an end:

    connected ──▶ head ──▶ body ──▶ reply ──▶ next request
              30 s    30 s, longer at    30 s          75 s (uvicorn's keep-alive)
                      4 KiB a second

uvicorn parses all that it receives, so that a client which pipelines makes its memory grow. Here
the parser gets heads and the framing of chunks line by line, and nothing behind the end of a
request until its reply is complete: that waits, and the socket is not read. A reply that comes
before the end of a body is the last: what still comes is not parsed (`lingering`). Connections that
have received much take turns (`turns`). Trailers and Upgrade headers are dropped.
tests/pipeline/web/test_uvicorn.py lists what is used of uvicorn.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from protocol import errors
from protocol.errors import ServingError

from ..admission.running import RunningRequests
from .body_count import BodyCount, out_of_proportion
from .body_wait import BodyWait
from .connections import Connections
from .half_closed import INTERIM_REPLY, HalfClosed
from .last_reply import last_reply
from .lingering import Lingering, Pace
from .reads import MOST_BYTES, PIECE_BYTES, BoundedReads, ReadBuffer, TlsReads
from .received import Received
from .reply_transport import ReplyTransport
from .turns import Turns

HEAD_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 30.0
# Of a head; also of the bytes between two pieces of a body (trailers, extensions of chunks).
MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
# Pieces are lines, and parts of bodies. A client can make them small; between turns the loop serves
# other connections.
_PIECES_A_TURN = 250
# In the scope's state: the error that the client got while the application waited for the body;
# when the request's first byte came, by `time.monotonic`; the task of the application.
REFUSED = "refused"
BEGAN = "began"
TASK = "task"

OnError: TypeAlias = Callable[[ServingError], None]
ErrorBody: TypeAlias = Callable[[ServingError], bytes]


class _Shared(NamedTuple):
    """What all connections of a server share."""

    connections: Connections
    error_body: ErrorBody
    on_refused: OnError
    running: RunningRequests
    turns: Turns
    pace: Pace
    buffer: ReadBuffer


class _BoundedProtocol(HttpToolsProtocol):
    """One connection."""

    def __init__(self, shared: _Shared, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(**options)
        self._shared = shared
        self._received = Received()
        self._in_headers = self._in_body = False
        self._framing_bytes = 0  # of a head; of a body: since its last piece
        self._body = BodyCount()
        self._body_left = 0  # of the body, or of the chunk, if its size is known
        self._keeps_alive = False  # what the request says
        self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._body_wait: BodyWait | None = None
        self._lingering: Lingering | None = None
        self._half_closed: HalfClosed | None = None

    @property
    def idle(self) -> bool:
        """Whether no request waits for its reply."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def wants(self) -> int:
        """How many bytes may be read at once."""
        return min(max(PIECE_BYTES, MOST_BYTES if self._is_over else self._body_left), MOST_BYTES)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._for_reply = ReplyTransport(transport, self._end)
        self._wait(HEAD_TIMEOUT_S, transport.abort)
        connections = self._shared.connections
        if not connections.add(self):
            limit = f"all of the {connections.limit} connections are at work; try again"
            self._reply_last(errors.Overloaded(limit))
            self._close()  # at once: there is no place for it

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_wait()
        self._shared.connections.remove(self)
        self._shared.running.end(self)
        super().connection_lost(exc)
        # What refers to this connection is free without the garbage collector.
        self._lingering = self._half_closed = None
        self._for_reply.shut()

    def _wait(self, seconds: float, then: Callable[..., None], *arguments: object) -> None:
        """Wait for the client, in place of the wait before."""
        self._end_wait()
        self._timer = self.loop.call_later(seconds, then, *arguments)

    def _end_wait(self) -> None:
        for wait in (self._lingering, self._half_closed, self._body_wait):
            if wait is not None:
                wait.end()
        self._body_wait = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- what is received ------------------------------------------------------------------------

    def data_received(self, data: bytes | memoryview) -> None:
        if self._lingering is not None:
            self._lingering.received(len(data))
        elif not self._is_over:
            self._received.add(data)
            self._parse()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Keep the connection of a client that waits for a reply; TLS has no such state."""
        if self._is_over or self.transport.get_extra_info("sslcontext") is not None:
            return False
        if self._in_headers or self._in_body:
            if not (self._in_body and self.cycle.response_started):
                error = errors.InvalidRequest("the connection ended before the request did")
                self.transport.write(last_reply(error, self._shared.error_body(error)))
            return False
        if self.idle:
            return False
        self.cycle.keep_alive = False
        if not self.cycle.response_started and self.parser.get_http_version() == "1.1":
            self.transport.write(INTERIM_REPLY)
        self._half_closed = HalfClosed(self.transport, self.transport.abort)
        return True

    def _is_ready(self) -> bool:
        """Whether the parser may have more: not behind a request whose reply is not complete."""
        return (self._in_body or self.idle) and not self._is_over

    def _parse(self) -> None:
        pieces, received = 0, self._received
        while received and self._is_ready() and pieces < _PIECES_A_TURN:
            begun = self._in_headers or self._in_body
            piece = received.take(self._body_left, whole_lines=begun)
            if not piece:
                break
            self._framing_bytes += len(piece)
            pieces += 1
            if not (self._in_headers and bytes(piece[:8]).lower() == b"upgrade:"):
                super().data_received(piece)  # type: ignore[arg-type]  # calls `on_...`
        if self._framing_bytes + (len(received) if received.is_incomplete else 0) > MAX_HEAD_BYTES:
            self._refuse_head()
        if self._is_over or not received:
            received.clear()
        if received and not self._is_ready():
            # Not by uvicorn's flow control, which reads on as soon as the application waits.
            self.transport.pause_reading()
        elif pieces == _PIECES_A_TURN:
            self.take_turns()
        elif self._is_ready() and self._timer is None and self._body_wait is None:
            self._wait(HEAD_TIMEOUT_S, self.transport.abort)

    def take_turns(self) -> None:
        """Let other connections read before this one reads on."""
        if not self._is_over:
            self.transport.pause_reading()
            self._shared.turns.wait(self._read_on)

    def _read_on(self) -> None:
        if self.transport.is_closing() or self._is_over:
            return
        if not self.flow.read_paused:
            self.transport.resume_reading()
        self._parse()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - uvicorn's own text
        self._refuse(errors.InvalidRequest("this is no HTTP request"))

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][BEGAN] = time.monotonic()
        self._shared.running.begin(self, self._cut)

    def on_url(self, url: bytes) -> None:
        self._in_headers = True
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._in_headers:  # else it is a trailer, which no proxy in front of us has looked at
            super().on_header(name, value)
            if len(self.headers) > MAX_HEADERS:
                self._refuse_head()

    def on_headers_complete(self) -> None:
        if self._is_over:
            return
        if self._framing_bytes > MAX_HEAD_BYTES:
            self._refuse_head()
        elif self.parser.should_upgrade():  # without Upgrade headers only CONNECT does
            self._refuse(errors.MethodNotAllowed("this is no proxy"))
        else:
            super().on_headers_complete()
            self._in_headers, self._in_body = False, True
            headers = dict(self.headers)
            self._body, self._body_left = BodyCount(), int(headers.get(b"content-length", 0))
            # A reply that comes before the end of the body is the last: the rest is not read.
            self._keeps_alive, self.cycle.keep_alive = self.cycle.keep_alive, False
            self.cycle.transport = self._for_reply  # type: ignore[assignment]
            if self._body_left or b"transfer-encoding" in headers:  # else it has ended already
                self._await_body()

    def on_chunk_header(self) -> None:
        line = self._received.piece
        self._body_left = int(line.partition(b";")[0], 16)
        if not self._body.add_chunk(len(line)):
            self._refuse(errors.InvalidRequest(out_of_proportion()))

    def on_body(self, body: bytes) -> None:
        if self._is_over:
            return
        self._framing_bytes = 0
        self._body.bytes += len(body)
        self._body_left -= len(body)
        waiting: object = self.cycle.body
        if not waiting:
            # uvicorn's bytearray would copy the piece twice, bytes do not.
            self.cycle.body = b""  # type: ignore[assignment]
        elif isinstance(waiting, bytes):
            # Several pieces: a bytearray copies each of them once.
            self.cycle.body = bytearray(waiting)
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._in_body and not self._is_over:  # else its head has been refused
            self._in_body = False
            self._framing_bytes = self._body_left = 0
            self._end_wait()
            if not self.cycle.response_started:
                self.cycle.keep_alive = self._keeps_alive
            super().on_message_complete()

    def _await_body(self) -> None:
        self._end_wait()
        self._body_wait = BodyWait(self._body, lambda: self.flow.read_paused, self._refuse_slow)

    def _refuse_slow(self, why: str) -> None:
        self._refuse(errors.DeadlineExceeded(why))

    # --- what is sent ----------------------------------------------------------------------------

    def on_response_complete(self) -> None:
        self._shared.running.end(self)
        if self._is_over or self.transport.is_closing():
            return
        super().on_response_complete()
        self._shared.connections.used(self)
        if self._received:
            self._read_on()

    def _cut(self) -> None:
        """End the request with ServiceClosed: the process ends before its reply is there."""
        if self.idle:  # its head is not complete
            self._refuse(errors.ServiceClosed("the service stopped before the request was here"))
        elif self.cycle.response_started:
            self.transport.abort()
        elif (task := self.cycle.scope["state"].get(TASK)) is not None:
            task.cancel()

    def _refuse_head(self) -> None:
        limit = f"{MAX_HEAD_BYTES // 1024} KiB and {MAX_HEADERS} headers"
        self._refuse(errors.TooLarge(f"the head is over the limit of {limit}"))

    def _refuse(self, error: ServingError) -> None:
        """Reply `error` to what is being read, unless a reply has begun, and close."""
        if self._is_over or self.transport.is_closing():
            return
        if not (self._in_body and self.cycle.response_started):
            self._reply_last(error)
        self._end(is_read=False)

    def _reply_last(self, error: ServingError) -> None:
        self.transport.write(last_reply(error, self._shared.error_body(error)))
        if self._in_body:
            self.cycle.scope["state"][REFUSED] = error
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        else:
            self._shared.on_refused(error)

    def _end(self, *, is_read: bool | None = None) -> None:
        """Read no more requests, and close when the client has the last reply."""
        if self._is_over:
            return
        self._is_over = True
        self._for_reply.shut()
        self._shared.running.end(self)
        if is_read is None:
            is_read = not (self._in_body or self._received)
        self._end_wait()
        if self.transport.is_closing():
            return
        if is_read or self._half_closed is not None:
            self._close()
        else:
            self._lingering = Lingering(self.transport, self._close, self._shared.pace)

    def _close(self) -> None:
        self._is_over = True
        self.transport.close()
        # Which waits for ever for a client that does not read its reply.
        self._wait(WRITE_TIMEOUT_S, self.transport.abort)

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._lingering is None:
            self._wait(WRITE_TIMEOUT_S, self.transport.abort)

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._is_over:
            return
        if self._in_body:
            self._await_body()
        elif not self.transport.is_closing():
            self._end_wait()

    def shutdown(self) -> None:
        """Close when the request that runs has its reply."""
        if self._lingering is not None:
            self._lingering.hurry()
        elif not self._is_over:
            self._keeps_alive = False
            super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        self._close()


def bounded_protocol(
    max_connections: int,
    error_body: ErrorBody,
    on_refused: OnError | None = None,
    running: RunningRequests | None = None,
    *,
    tls: bool = False,
) -> Callable[..., BoundedReads]:
    """Return what makes the protocols of a server that keeps at most so many connections.

    `error_body` gives the JSON of an error; `on_refused` gets each error that was sent before the
    application saw a request; `running` counts the requests.
    """
    shared = _Shared(
        Connections(max_connections),
        error_body,
        on_refused or _ignore,
        RunningRequests() if running is None else running,
        Turns(),
        Pace(),
        ReadBuffer(),
    )

    reads = TlsReads if tls else BoundedReads

    def make(**options: Any) -> BoundedReads:  # noqa: ANN401 - uvicorn's own
        return reads(_BoundedProtocol(shared, **options), shared.buffer)

    return make


def _ignore(_argument: object) -> None:
    pass
