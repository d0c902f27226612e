"""Attacks on connections over HTTP: pipelining, slowness, numbers, heads."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket

from .attacker import Attack, Attacker, Line
from .target import MAX_CONNECTIONS, Mode

GET = b"GET / HTTP/1.1\r\nHost: attack\r\n\r\n"
CROWD = 100
WITHOUT_KEY = (Mode.OPEN, Mode.STRANGER)
ANYBODY = (Mode.OPEN,)  # where keys change nothing: nothing is read that could have one


async def pipelined_read(attacker: Attacker) -> None:
    """Pipeline requests that need no key, and read the replies."""

    async def once() -> None:
        await (await attacker.connect()).flood(GET * 1000, read=True)

    await attacker.repeat(once)


async def pipelined_unread(attacker: Attacker) -> None:
    """Pipeline requests, and read nothing."""

    async def once() -> None:
        await (await attacker.connect()).flood(GET * 1000, read=False)

    await attacker.repeat(once, 4)


async def tiny_chunks(attacker: Attacker) -> None:
    """Send a body in chunks of one byte, also after the reply."""

    async def once() -> None:
        line = await attacker.connect()
        await line.send(attacker.head("Transfer-Encoding: chunked", "Content-Type: image/jpeg"))
        await line.flood(b"1\r\nx\r\n" * 2000, read=True)

    await attacker.repeat(once)


async def body_after_refusal(attacker: Attacker) -> None:
    """Send a large body that is refused by its head: no such service, or no key."""

    async def once() -> None:
        line = await attacker.connect()
        await line.send(attacker.head(path="/nobody/prediction", size=60 * 2**20))
        await line.flood(bytes(2**20), read=True)

    await attacker.repeat(once, 4)


async def _drip(attacker: Attacker, start: bytes, piece: bytes) -> None:
    """Keep many connections that send a piece every fifth of a second."""

    async def once() -> None:
        line = await attacker.connect()
        try:
            await line.send(start)
            # Not for ever: a cancellation is lost where what it ends is done at that moment.
            while not attacker.over:
                await line.send(piece)
                await asyncio.sleep(0.2)
        finally:
            line.close()

    await attacker.repeat(once, CROWD)


async def slow_heads(attacker: Attacker) -> None:
    """Send heads one byte at a time."""
    await _drip(attacker, b"GET / HTTP/1.1\r\nHost: attack\r\nA: ", b"a")


async def slow_bodies(attacker: Attacker) -> None:
    """Send bodies one byte at a time."""
    await _drip(attacker, attacker.head("Content-Type: image/jpeg", size=2**20), b"x")


async def slow_reading(attacker: Attacker) -> None:
    """Request the largest reply on many connections with a small window, and read none."""

    async def once() -> None:
        connection = socket.socket()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        address = (attacker.target.host, attacker.target.http_port)
        loop = asyncio.get_running_loop()
        try:
            await loop.sock_connect(connection, address)
            content = attacker.head(method="GET", path="/openapi.json") * 20
            await asyncio.wait_for(loop.sock_sendall(connection, content), attacker.left_s)
            attacker.sent += len(content)
            await asyncio.sleep(attacker.left_s)
        finally:
            connection.close()

    await attacker.repeat(once, CROWD)


async def half_closed(attacker: Attacker) -> None:
    """Send a request, close the sending side, and read nothing."""

    async def once() -> None:
        line = await attacker.connect()
        try:
            await line.send(attacker.head(method="GET", path="/openapi.json"))
            line.writer.write_eof()
            await asyncio.sleep(1)
        finally:
            line.close()

    await attacker.repeat(once, CROWD)


async def crowd(attacker: Attacker) -> None:
    """Open twice as many connections as one port takes, and say nothing."""
    lines: list[Line] = []

    async def once() -> None:
        lines.append(await attacker.connect())
        if len(lines) >= 2 * MAX_CONNECTIONS:
            await asyncio.sleep(attacker.left_s)

    with contextlib.ExitStack() as stack:
        await attacker.repeat(once, 8)
        for line in lines:
            stack.callback(line.close)


async def connect_and_leave(attacker: Attacker) -> None:
    """Open connections and reset them, as fast as possible."""

    async def once() -> None:
        line = await attacker.connect()
        await line.send(b"GET")
        line.close()

    await attacker.repeat(once, 8)


async def upgrade(attacker: Attacker) -> None:
    """Request an upgrade with a transfer coding that nobody knows."""
    fields = ("Upgrade: websocket", "Connection: Upgrade", "Transfer-Encoding: gzip")
    content = attacker.head(*fields) + os.urandom(200)
    await attacker.post(content, 4)


async def heavy_heads(attacker: Attacker) -> None:
    """Send heads of almost the limit: a hundred headers, percent escapes in the query."""
    fields = [f"X-{number}: {'a' * 120}" for number in range(90)]
    path = f"/{attacker.target.service}/prediction?topk=" + "%31" * 5000
    await attacker.post(attacker.head(*fields, path=path, size=0), 4)


ATTACKS = (
    Attack("pipelining, read", 1, "HTTP", "owed replies are bounded", pipelined_read,
           WITHOUT_KEY, like="heads"),
    Attack("pipelining, unread", 1, "HTTP", "nothing is read beyond one piece", pipelined_unread,
           WITHOUT_KEY, like="heads"),
    Attack("one-byte chunks", 6, "HTTP", "the loop goes on", tiny_chunks, like="heads"),
    Attack("body after a refusal", 6, "HTTP", "it is not read on", body_after_refusal,
           like="bodies"),
    Attack("slow heads", 6, "HTTP", "they end in time", slow_heads, ANYBODY),
    Attack("slow bodies", 6, "HTTP", "they end in time", slow_bodies, holds_mib=CROWD),
    Attack("slow reading", 6, "HTTP", "owed replies are bounded", slow_reading, ANYBODY),
    Attack("half-closed", 6, "HTTP", "they end in time", half_closed, ANYBODY),
    Attack("too many connections", 6, "HTTP", "new callers get in", crowd, ANYBODY, silent=True),
    Attack("connect and reset", 6, "HTTP", "the loop goes on", connect_and_leave, ANYBODY),
    Attack("upgrade in gzip", 11, "HTTP", "no stack trace", upgrade, WITHOUT_KEY),
    Attack("heavy heads, escapes", 2, "HTTP", "reading is linear", heavy_heads, like="heads"),
)  # fmt: skip
