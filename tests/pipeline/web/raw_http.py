"""An application on a real socket, and requests to it byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from tests.patience import PATIENCE_S

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


class Server:
    """An application that replies `size` bytes when `release` is set; counts the requests."""

    def __init__(self, close: Callable[[], Awaitable[None]]) -> None:
        self.close = close
        self.port = 0
        self.requests = 0
        self.disconnected = 0
        self.size = 2
        self.bodies: list[bytes] = []
        self.headers: dict[str, str] = {}
        self.left = asyncio.Event()  # a client has gone away before its reply
        self.release = asyncio.Event()
        self.release.set()

    async def reply(self, request: Request) -> Response:
        try:
            body = await request.body()
        except ClientDisconnect:
            self.disconnected += 1
            return Response()
        self.requests += 1
        self.bodies.append(body)
        self.headers |= dict(request.headers)
        # As the application itself does, to notice that the client goes away.
        gone = asyncio.ensure_future(request.receive())
        release = asyncio.ensure_future(self.release.wait())
        await asyncio.wait((gone, release), return_when=asyncio.FIRST_COMPLETED)
        if gone.done():
            self.left.set()
        release.cancel()
        gone.cancel()
        return Response(b"x" * self.size)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)


async def request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, close: bool = True
) -> bytes:
    writer.write(GET)
    reply = await read_reply(reader)
    if close:
        writer.close()
        await writer.wait_closed()
    return reply


async def read_reply(reader: asyncio.StreamReader) -> bytes:
    async def read() -> bytes:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return head + await reader.readexactly(length)

    return await asyncio.wait_for(read(), PATIENCE_S)


async def closed(reader: asyncio.StreamReader) -> bool:
    """Whether the other side ends the connection."""
    with contextlib.suppress(ConnectionError):
        while await asyncio.wait_for(reader.read(65536), PATIENCE_S):
            pass
    return True
