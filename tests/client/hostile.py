"""Servers that mean harm: they drip, flood, and send what no server should, until they are left."""

from __future__ import annotations

import contextlib
import gzip
import select
import socket
import struct
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.patience import PATIENCE_S

Behaviour = Callable[[socket.socket], None]
PACE_S = 0.02
ENVELOPE = b'{"err_no":0,"err_msg":"","key":["label","prob"],"value":["[\'cat\']","[0.5]"]}'


class HostileServer:
    """Treats each connection in the given way; `left` is set when a client has closed one."""

    def __init__(self, behave: Behaviour) -> None:
        self._behave = behave
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = int(self._listener.getsockname()[1])
        self.left = threading.Event()
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.add(connection)
            threading.Thread(target=self._treat, args=(connection,), daemon=True).start()

    def _treat(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self._behave(connection)
        self._open.discard(connection)
        self.left.set()

    def close(self) -> None:
        self._listener.close()
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def hostile() -> Iterator[Callable[[Behaviour], HostileServer]]:
    with ExitStack() as stack:

        def start(behave: Behaviour) -> HostileServer:
            server = HostileServer(behave)
            stack.callback(server.close)
            return server

        yield start


def request(connection: socket.socket) -> bytes:
    """Read one request with its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(1 << 16) or b"\r\n\r\n"
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        body += connection.recv(1 << 16) or bytes(length)
    return head


def is_left(connection: socket.socket) -> bool:
    """Return whether the client has closed; it sends nothing while it waits for a reply."""
    readable, _, _ = select.select([connection], [], [], PACE_S)
    return bool(readable) and connection.recv(1 << 16) == b""


def drips(start: bytes, piece: bytes, *, reads: bool = True) -> Behaviour:
    """Send `start`, and then `piece` again and again until the client leaves."""

    def behave(connection: socket.socket) -> None:
        if reads:
            request(connection)
        connection.sendall(start)
        while not is_left(connection):
            connection.sendall(piece)

    return behave


def sends(data: bytes) -> Behaviour:
    """Send `data` in reply to each request."""

    def behave(connection: socket.socket) -> None:
        while request(connection):
            connection.sendall(data)

    return behave


def reads_slowly(connection: socket.socket) -> None:
    """Read a byte at a time of what the client sends."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    pause = threading.Event()
    while connection.recv(1):
        pause.wait(PACE_S)


def reply(body: bytes, *headers: str, status: str = "200 OK") -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def bomb(megabytes: int) -> bytes:
    """Return gzip that unpacks to so many MB, made without them."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = bytes(1 << 20)
    return b"".join([*(packer.compress(block) for _ in range(megabytes)), packer.flush()])


def twice(data: bytes) -> bytes:
    return gzip.compress(gzip.compress(data))


def frame(kind: int, payload: bytes = b"", flags: int = 0, stream: int = 0) -> bytes:
    """Return a frame of HTTP/2."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


assert PATIENCE_S > 100 * PACE_S
