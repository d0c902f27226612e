"""HTTP connections with bounds: how many, how large a head, how long for each part of a request.

uvicorn's protocol bounds the wait between two requests only. Here every wait for a client has an
end, so that whoever sends slowly, reads slowly or does neither holds nothing for ever:

    connected ──▶ head ──▶ body ──▶ answer ──▶ next request
              30 s    30 s, longer at    30 s          75 s (uvicorn's keep-alive)
                      4 KiB a second

One connection too many takes the place of the one that has been idle longest. Trailers are dropped,
and an upgrade is not heeded: the request is answered as it is. What is no request is answered too,
behind the answers to those that came before it on the connection, which is closed then.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, TypeAlias

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from protocol.errors import (
    DeadlineExceeded,
    InvalidRequest,
    MethodNotAllowed,
    Overloaded,
    ServingError,
    TooLarge,
    wire_codes,
)
from protocol.key_value.reply import error_to_json

HEAD_TIMEOUT_S = 30.0
WRITE_TIMEOUT_S = 30.0
# A body may take this long; longer while it comes at this rate, and at most to the limit.
BODY_PATIENCE_S = 30.0
SLOWEST_BYTES_A_SECOND = 4096
_LOOK_EVERY_S = 10.0
BODY_LIMIT_S = 600.0
MAX_HEAD_BYTES = 32 * 1024
MAX_HEADERS = 100
# What may come between the pieces of a body (trailers, extensions of chunks, empty lines).
MAX_BETWEEN_BYTES = 512 * 1024
# In the scope's state: the error that a request was answered with while the application still
# waited for its body, and is told that the client has gone.
REFUSED = "refused"

# Told of what was answered here: no application has seen it.
OnRefused: TypeAlias = Callable[[ServingError], None]

_FRAMING = (b"content-length", b"transfer-encoding")


def bounded_protocol(
    max_connections: int, on_refused: OnRefused | None = None
) -> type[HttpToolsProtocol]:
    """Return a protocol class for a server that keeps at most so many connections."""
    told = staticmethod(on_refused or _tell_nobody)
    bounds = {"max_connections": max_connections, "_order": {}, "on_refused": told}
    return type("BoundedProtocol", (_BoundedProtocol,), bounds)


def _tell_nobody(_error: ServingError) -> None:
    pass


def _last_answer(error: ServingError) -> bytes:
    """Return an answer in our own envelope, after which the connection is closed."""
    status = HTTPStatus(wire_codes(error).http_status)
    body = error_to_json(error)
    later = "Retry-After: 1\r\n" if status == HTTPStatus.TOO_MANY_REQUESTS else ""
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n{later}Connection: close\r\n\r\n"
    )
    return head.encode() + body


def _tell_gone(cycle: RequestResponseCycle) -> None:
    """Let the application of `cycle` know that nobody waits for its answer."""
    if not cycle.response_complete:
        cycle.disconnected = True
    cycle.message_event.set()


class _BoundedProtocol(HttpToolsProtocol):
    """uvicorn's protocol over httptools, and the bounds."""

    max_connections: int
    on_refused: OnRefused
    # The connections of one server, the one that was used last at the end.
    _order: dict[_BoundedProtocol, None]

    def __init__(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - uvicorn's own
        super().__init__(*arguments, **options)
        # Requests whose answer is not complete, the one that is answered now in front.
        self._owed: deque[RequestResponseCycle] = deque()
        # The one whose body has not come whole.
        self._reading: RequestResponseCycle | None = None
        # The last answer on this connection, which waits for those that are owed.
        self._refusal: bytes | None = None
        self._head_bytes = 0
        self._in_head = True
        self._message_ended = False
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._body_timer: asyncio.TimerHandle | None = None
        self._body_began = 0.0
        self._body_bytes = 0
        self._body_bytes_seen = 0
        self._body_looked_at = False
        self._between_bytes = 0
        self._muted = False

    # --- the life of a connection ----------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        if len(self.connections) >= self.max_connections and not self._make_room():
            limit = f"all of the {self.max_connections} connections are at work; try again"
            transport.write(_last_answer(Overloaded(limit)))
            transport.close()
            super().connection_made(transport)
            self.on_refused(Overloaded(limit))
        else:
            super().connection_made(transport)
            self._order[self] = None
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._cancel_head_timer()
        self._cancel_write_timer()
        self._cancel_body_timer()
        self._order.pop(self, None)
        for cycle in self._owed:  # uvicorn tells the newest only
            _tell_gone(cycle)
        super().connection_lost(exc)

    @property
    def idle(self) -> bool:
        """Whether nothing has been asked that is not answered."""
        return not self._owed

    def _make_room(self) -> bool:
        """Close the connection that has been idle longest; False if every one is at work."""
        for connection in self._order:
            if connection.idle:
                connection.transport.abort()
                # It is told that it is lost only later; its place is free now.
                self.connections.discard(connection)
                self._order.pop(connection, None)
                return True
        return False

    # --- what is received ------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        if self._is_over():
            return  # read all the same: closing over unread data would take the answers with it
        self._between_bytes += len(data)
        self._message_ended = False
        rest = self._feed(data)
        while rest is not None and not self._is_over():
            rest = self._feed(rest)
        if self._is_over():
            return
        if self._in_head:
            # How much of a piece in which another message ended belongs to the head, the parser
            # does not say; a head that goes on after it is counted from there.
            if not self._message_ended:
                self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse_head()
        elif self._between_bytes > MAX_BETWEEN_BYTES:
            self._refuse(TooLarge("too much came that is neither head nor body"))
        if self.idle and self._head_timer is None and not self._is_over():
            self._await_head()

    def _is_over(self) -> bool:
        """Whether what is still received is of no interest."""
        return self._refusal is not None or self.transport.is_closing()

    def _feed(self, data: bytes) -> bytes | None:
        """Give `data` to the parser; return what it left at an upgrade, which is HTTP to us."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            return self._go_on_as_http(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(InvalidRequest("this is no HTTP request"))
        return None

    def _go_on_as_http(self, rest: bytes) -> bytes:
        """Have a new parser read on: the body of this request, if it has one, else the next.

        The old one stops for good where another protocol could begin, in front of the body.
        """
        self.parser = httptools.HttpRequestParser(self)
        framing = [header for header in self.headers if header[0] in _FRAMING]
        if framing:
            self._muted = True
            head = b"".join(b"%b: %b\r\n" % header for header in framing)
            self.parser.feed_data(b"POST / HTTP/1.1\r\n" + head + b"\r\n")
            self._muted = False
        return rest

    def on_url(self, url: bytes) -> None:
        if not self._muted:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # What follows a body as trailers is no header: nobody in front of us has looked at it.
        if self._in_head and not self._muted:
            super().on_header(name, value)

    def on_message_begin(self) -> None:
        if self._muted or self._is_over():
            return
        self._in_head = True
        self._between_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        if self._muted or self._is_over():
            return
        self._in_head, self._head_bytes = False, 0
        self._cancel_head_timer()
        if self.parser.get_method() == b"CONNECT":
            self._refuse(MethodNotAllowed("this is no proxy"))
            return
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        if size > MAX_HEAD_BYTES or len(self.headers) > MAX_HEADERS:
            self._refuse_head()
        if not self._is_over():
            super().on_headers_complete()
            self._reading = self.cycle
            self._owed.append(self.cycle)
            if len(self._owed) == 1:
                self._await_body()

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        self._between_bytes = 0
        if self._reading is not None:  # else its head was refused
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._muted or (self.parser.should_upgrade() and self._has_body):
            return  # the body is still to come
        self._message_ended = True
        self._cancel_body_timer()
        if self._reading is not None:
            super().on_message_complete()
            self._reading = None

    def on_response_complete(self) -> None:
        self._owed.popleft()
        if self._refusal is not None and not self._owed:
            self._give_refusal()
        self._order.pop(self, None)
        if not self.transport.is_closing():
            self._order[self] = None  # it has been used last
            if self._reading is not None and self._owed and self._owed[0] is self._reading:
                self._await_body()  # nobody has read of it while others were answered
        super().on_response_complete()

    @property
    def _has_body(self) -> bool:
        return any(name in _FRAMING and value.strip() != b"0" for name, value in self.headers)

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        self.transport.abort()

    def _refuse_head(self) -> None:
        limit = f"{MAX_HEAD_BYTES // 1024} KiB and {MAX_HEADERS} headers"
        self._refuse(TooLarge(f"the head is over the limit of {limit}"))

    def _refuse(self, error: ServingError) -> None:
        """Answer what is being read with `error`, behind the answers that are owed, and close."""
        if self._is_over():
            return
        self._cancel_head_timer()
        self._cancel_body_timer()
        cycle, self._reading = self._reading, None
        if cycle is None:
            self.on_refused(error)
        elif cycle.response_started:
            self.transport.close()  # it has its answer, or a part of one
            return
        elif cycle is self._owed[0]:
            self._owed.popleft()
            cycle.scope["state"][REFUSED] = error
            _tell_gone(cycle)
        else:
            self._owed.pop()
            self.pipeline.popleft()
            self.on_refused(error)
        self._refusal = _last_answer(error)
        if not self._owed:
            self._give_refusal()

    def _give_refusal(self) -> None:
        if self._refusal is not None and not self.transport.is_closing():
            self.transport.write(self._refusal)
            self.transport.close()

    def _await_body(self) -> None:
        self._cancel_body_timer()
        self._body_began = self.loop.time()
        self._body_bytes = self._body_bytes_seen = 0
        self._body_looked_at = False
        self._body_timer = self.loop.call_later(BODY_PATIENCE_S, self._look_at_body)

    def _look_at_body(self) -> None:
        self._body_timer = None
        seconds = self.loop.time() - self._body_began
        # Reading is paused where the service itself is behind; that is not the sender's fault.
        came = self._body_bytes - self._body_bytes_seen
        since_s = _LOOK_EVERY_S if self._body_looked_at else BODY_PATIENCE_S
        enough = self.flow.read_paused or came >= SLOWEST_BYTES_A_SECOND * since_s
        self._body_bytes_seen, self._body_looked_at = self._body_bytes, True
        if enough and seconds < BODY_LIMIT_S:
            self._body_timer = self.loop.call_later(_LOOK_EVERY_S, self._look_at_body)
        else:
            why = f"{self._body_bytes} bytes of the body came within {seconds:.0f} s: too slow"
            self._refuse(DeadlineExceeded(why))

    def _cancel_body_timer(self) -> None:
        if self._body_timer is not None:
            self._body_timer.cancel()
            self._body_timer = None

    def _cancel_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    # --- what is sent ----------------------------------------------------------------------------

    def pause_writing(self) -> None:
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_TIMEOUT_S, self.transport.abort)
        super().pause_writing()

    def resume_writing(self) -> None:
        self._cancel_write_timer()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        # `close` would wait for ever for a client that does not read the rest of its answer.
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        else:
            super().timeout_keep_alive_handler()

    def _cancel_write_timer(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
