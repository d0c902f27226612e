"""What is relied on of uvicorn, by name. If a release fails here, look at protocol.py first.

setup.cfg has the upper bound on its version. Raise it when these tests pass with the new release.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import re
import socket
from typing import Any

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from pipeline.web import protocol, server

# Methods that we override, and that uvicorn, asyncio or the parser call.
OVERRIDDEN = {
    "__init__",
    "connection_made",
    "connection_lost",
    "data_received",
    "eof_received",
    "shutdown",
    "pause_writing",
    "resume_writing",
    "on_message_begin",
    "on_url",
    "on_header",
    "on_headers_complete",
    "on_body",
    "on_message_complete",
    "on_response_complete",
    "send_400_response",
    "timeout_keep_alive_handler",
}
# Attributes of a connection that we read, or write (the last five of `cycle`).
READ = {
    "loop",
    "transport",
    "scope",
    "headers",
    "parser.should_upgrade",
    "parser.get_http_version",
    "flow.read_paused",
    "cycle",
    "cycle.body",
    "cycle.response_started",
    "cycle.response_complete",
    "cycle.scope",
    "cycle.keep_alive",
    "cycle.transport",
    "cycle.disconnected",
    "cycle.message_event",
}
SERVER_OVERRIDDEN = {"__init__", "startup", "shutdown", "capture_signals"}
SERVER_READ = {
    "servers",
    "should_exit",
    "serve",
    "config.http_protocol_class",
    "server_state",
    "lifespan.state",
}


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self.written = b""

    def write(self, data: Any) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        pass

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass


async def accept(application: Any, kind: Any = HttpToolsProtocol) -> tuple[Any, Transport]:
    """A connection of uvicorn alone, without our bounds, or of another `kind`."""
    config = uvicorn.Config(application, log_config=None, lifespan="off", ws="none")
    connection = kind(config=config, server_state=ServerState(), app_state={})
    transport = Transport()
    connection.connection_made(transport)
    return getattr(connection, "protocol", connection), transport


async def test_uvicorn_has_what_is_relied_on() -> None:
    received: list[dict[str, Any]] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        assert scope["state"] == {}
        while not received or received[-1].get("more_body"):
            received.append(await receive())
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    connection, transport = await accept(application)
    bad: list[str] = []
    connection.send_400_response = bad.append
    replied = asyncio.Event()
    complete = connection.on_response_complete
    connection.on_response_complete = lambda: (complete(), replied.set())
    assert connection.cycle is None
    # It takes a memoryview, also where that ends within a line.
    for piece in (b"PO", b"ST / HTTP/1.1\r\nContent-Length: 4\r\n", b"\r\n", b"ab"):
        connection.data_received(memoryview(piece))
    assert not connection.parser.should_upgrade()
    assert connection.headers == [(b"content-length", b"4")]
    assert not connection.flow.read_paused
    cycle = connection.cycle
    assert not cycle.response_started
    assert not cycle.response_complete
    assert not cycle.disconnected
    # `+=` adds to its body, which may be of bytes, and it is sent as it is.
    assert cycle.body in (b"", b"ab")
    cycle.body = b""
    received.append({"body": b"ab", "more_body": True})
    connection.data_received(memoryview(b"cd"))
    await replied.wait()
    assert b"".join(message["body"] for message in received) == b"abcd"
    assert cycle.response_started
    assert cycle.response_complete
    assert transport.written.startswith(b"HTTP/1.1 204 ")
    # The parser's errors lead to `send_400_response`.
    connection.data_received(memoryview(b"\x00"))
    assert len(bad) == 1
    connection.connection_lost(None)


async def test_a_waiting_application_learns_of_a_disconnect() -> None:
    waiting, received = asyncio.Event(), asyncio.Queue[Any]()

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        waiting.set()
        await received.put(await receive())

    connection, transport = await accept(application)
    connection.data_received(b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\n")
    await waiting.wait()
    connection.cycle.disconnected = True
    connection.cycle.message_event.set()
    assert await received.get() == {"type": "http.disconnect"}
    assert transport.written == b""
    connection.connection_lost(None)


async def test_a_piece_of_a_body_reaches_the_application_without_a_copy() -> None:
    received = asyncio.Queue[Any]()

    async def application(_scope: Any, receive: Any, _send: Any) -> None:
        for _ in range(2):
            await received.put(await receive())

    bounded = protocol.bounded_protocol(1, lambda _error: b"")
    connection, _ = await accept(application, bounded)
    connection.data_received(b"POST / HTTP/1.1\r\nContent-Length: 4000\r\n\r\n")
    pieces = [bytes(1000) for _ in range(4)]
    connection.on_body(pieces[0])
    assert (await received.get())["body"] is pieces[0]
    for piece in pieces[1:]:  # several before the application reads
        connection.on_body(piece)
    assert (await received.get())["body"] == bytes(3000)
    connection.connection_lost(None)


async def test_what_waits_in_the_listen_queue_gets_its_reply_before_the_port_closes() -> None:
    async def application(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    with socket.create_server(("127.0.0.1", 0)) as listening, contextlib.ExitStack() as stack:
        config = uvicorn.Config(application, log_config=None, lifespan="off")
        config.load()
        serving = server._UvicornServer(config)
        serving.lifespan = config.lifespan_class(config)
        await serving.startup([listening])
        # Nothing is accepted before the loop runs again.
        waiting = [
            stack.enter_context(socket.create_connection(listening.getsockname()))
            for _ in range(10)
        ]
        for each in waiting:
            each.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        await serving.shutdown([listening])
        assert [each.recv(12) for each in waiting] == 10 * [b"HTTP/1.1 204"]


async def test_the_lists_are_complete() -> None:
    connection, _ = await accept(None)
    methods, read = used(protocol._BoundedProtocol)
    assert methods & set(dir(connection)) == OVERRIDDEN
    assert read == READ
    connection.connection_lost(None)
    methods, read = used(server._UvicornServer, server._TlsUvicornServer)
    there = uvicorn.Server(uvicorn.Config(None, log_config=None))
    assert methods & set(dir(there)) == SERVER_OVERRIDDEN
    assert (read | {"should_exit", "serve"}) - {"config"} == SERVER_READ


def used(*ours: type) -> tuple[set[str], set[str]]:
    """The methods that these classes define, and what they read of `self` besides."""
    source = "".join(map(inspect.getsource, ours))
    methods = set(re.findall(r"def (\w+)", source))
    found = re.findall(r"self\.(?!_)(\w+)(?:\.(\w+))?", source)
    inner = ("cycle", "flow", "parser", "config", "lifespan")
    read = {f"{name}.{more}" if name in inner and more else name for name, more in found}
    return methods, read - methods
