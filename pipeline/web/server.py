"""uvicorn on sockets that listen already, with bounds on its connections, and TLS."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import functools
import logging
import resource
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from protocol.errors import ServiceClosed

from ..admission.listen_queue import accepted
from ..admission.running import RunningRequests
from ..admission.tls import Tls
from .protocol import TASK, ErrorBody, OnError, bounded_protocol
from .replies import error_response

logger = logging.getLogger(__name__)

DEFAULT_KEEP_ALIVE_S = 75
CLOSE_GRACE_S = 5.0
# Of the metrics and admin ports, which few clients use.
PRIVATE_CONNECTIONS = 256
HANDSHAKE_TIMEOUT_S = 10.0
# Connections that are accepted and whose TLS handshake is not complete; not counted in
# `max_connections`.
HANDSHAKES = 256
# Descriptors for all that is no connection of a caller: workers, bundles, logs, admin, handshakes.
SPARE_DESCRIPTORS = 512 + HANDSHAKES
# Accepted in one turn of the loop; handshakes exceed `HANDSHAKES` by no more than these.
_ACCEPTED_AT_ONCE = 32
_ACCEPT_AGAIN_S = 1.0
_FIRST_READ_S = 0.05
_OUT_OF = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_PORTS = 2  # HTTP and RPC


def affordable_connections(wanted: int) -> int:
    """Return how many connections a port may have; the limit of descriptors is raised for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = _PORTS * wanted + SPARE_DESCRIPTORS
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(hard, needed)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            # Half of what there is, at least, is for connections.
            affordable = max(soft - SPARE_DESCRIPTORS, soft // 2) // _PORTS
            if affordable < wanted:
                logger.warning(
                    "only %d connections a port: the limit of open files is %d (ulimit -n)",
                    affordable,
                    soft,
                )
                return affordable
    return wanted


async def serve_app(
    stack: contextlib.AsyncExitStack,
    app: Starlette,
    sockets: list[socket.socket],
    *,
    error_body: ErrorBody,
    max_connections: int = PRIVATE_CONNECTIONS,
    keep_alive_s: int = DEFAULT_KEEP_ALIVE_S,
    tls: Tls | None = None,
    on_refused: OnError | None = None,
    is_leaving: Callable[[], bool] = lambda: False,
    running: RunningRequests | None = None,
) -> None:
    """Serve `app` on sockets that listen already, until the stack is closed.

    `error_body` gives the JSON of an error that is sent before `app` sees a request: a connection
    or a head is over its bound, or the bytes are no HTTP. `on_refused` gets each such error. A
    connection without a request is closed after `keep_alive_s`; each is closed after its next reply
    while `is_leaving`. `running` counts the requests, and can cut them off.
    """
    config = uvicorn.Config(
        _Ending(app, is_leaving, error_body),
        # uvicorn calls it, and needs no class.
        http=bounded_protocol(
            max_connections, error_body, on_refused, running, tls=tls is not None
        ),  # type: ignore[arg-type]
        log_config=None,
        log_level=logging.ERROR,  # bytes that are no request are counted, and not logged
        access_log=False,
        server_header=False,
        lifespan="off",
        ws="none",
        proxy_headers=False,
        timeout_keep_alive=keep_alive_s,
        timeout_graceful_shutdown=int(CLOSE_GRACE_S),
    )
    config.load()
    server = _UvicornServer(config) if tls is None else _TlsUvicornServer(config, tls)
    serving = asyncio.create_task(server.serve(sockets), name="http")

    async def close() -> None:
        server.should_exit = True
        await serving

    stack.push_async_callback(close)


class _Ending:
    """Has connections and requests end well when the service does.

    Each connection ends with its next reply while the service leaves: a client or proxy then opens
    another one, to another replica. One that keeps its connection would send its next request just
    when this process ends. A task that is cancelled, because time is up, replies ServiceClosed.
    """

    def __init__(self, app: ASGIApp, is_leaving: Callable[[], bool], error_body: ErrorBody) -> None:
        self._app = app
        self._is_leaving = is_leaving
        self._error_body = error_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_begun = False

        async def send_last(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            # Checked at the reply, since the request may have come before.
            if message["type"] == "http.response.start" and self._is_leaving():
                headers = [*message.get("headers", ()), (b"connection", b"close")]
                message = {**message, "headers": headers}
            await send(message)

        scope["state"][TASK] = asyncio.current_task()
        try:
            await self._app(scope, receive, send_last)
        except asyncio.CancelledError:
            if has_begun:
                raise
            error = ServiceClosed("the service was stopped before it replied; send it again")
            await error_response(error, self._error_body(error))(scope, receive, send_last)


class _UvicornServer(uvicorn.Server):
    """uvicorn without its own signal handlers: the host stops it, after the drain."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close the port, and end; what waited in the listen queue gets its reply first."""
        for each in sockets or ():
            await accepted(each)
            # What was accepted last is read, or uvicorn would take its connection for an idle one.
            await asyncio.sleep(_FIRST_READ_S)
            await accepted(each)
        await super().shutdown(sockets)


class _TlsUvicornServer(_UvicornServer):
    """uvicorn whose connections are accepted by us, see `_TlsListener`."""

    def __init__(self, config: uvicorn.Config, tls: Tls) -> None:
        super().__init__(config)
        self._tls = tls

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets=[])
        for listening in sockets or []:
            listener = _TlsListener(listening, self._tls, self._make_protocol)
            # uvicorn calls `close` and `wait_closed` of a server, and nothing else.
            self.servers.append(listener)  # type: ignore[arg-type]

    def _make_protocol(self) -> asyncio.Protocol:
        return self.config.http_protocol_class(  # type: ignore[call-arg]
            config=self.config, server_state=self.server_state, app_state=self.lifespan.state
        )


class _TlsListener:
    """Accepts connections, and gives each a protocol when its TLS handshake is complete.

    The loop's own server keeps one context, and does not bound the handshakes: thousands of silent
    connections would take every descriptor. Here each connection gets the newest context, and one
    handshake too many ends the oldest.
    """

    def __init__(
        self, listening: socket.socket, tls: Tls, make_protocol: Callable[[], asyncio.Protocol]
    ) -> None:
        self._listening = listening
        self._tls = tls
        self._make_protocol = make_protocol
        self._loop = asyncio.get_running_loop()
        # The oldest first.
        self._handshakes: dict[asyncio.Task[None], None] = {}
        self._again: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept nothing more, and end the handshakes."""
        self._loop.remove_reader(self._listening)
        if self._again is not None:
            self._again.cancel()
        for task in self._handshakes:
            task.cancel()

    async def wait_closed(self) -> None:
        """Wait until no handshake is left."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _listen(self) -> None:
        self._again = None
        self._loop.add_reader(self._listening, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            try:
                connection, _address = self._listening.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _OUT_OF:
                    self._pause(error)
                    return
                continue  # the client has closed it already
            connection.setblocking(False)
            self._begin(connection)

    def _pause(self, error: OSError) -> None:
        """Stop accepting for a while: the loop would report the same connection again at once."""
        logger.warning("a connection could not be accepted: %s", error.strerror)
        self._loop.remove_reader(self._listening)
        self._again = self._loop.call_later(_ACCEPT_AGAIN_S, self._listen)

    def _begin(self, connection: socket.socket) -> None:
        if len(self._handshakes) >= HANDSHAKES:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]
            oldest.cancel()
        task = self._loop.create_task(self._shake_hands(connection), name="TLS handshake")
        self._handshakes[task] = None
        task.add_done_callback(functools.partial(self._ended, connection))

    async def _shake_hands(self, connection: socket.socket) -> None:
        # A client that does not speak TLS, or has no certificate that we trust, is not logged.
        with contextlib.suppress(OSError):
            await self._loop.connect_accepted_socket(
                self._make_protocol,
                connection,
                ssl=self._tls.context,
                ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            )

    def _ended(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        self._handshakes.pop(task, None)
        if task.cancelled():
            connection.close()  # there may have been no transport yet to close it
        elif (error := task.exception()) is not None:
            connection.close()
            logger.error("a TLS handshake failed", exc_info=error)
