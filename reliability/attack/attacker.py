"""What an attack works with: the target, its time, raw connections, and the count of its bytes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from .target import Mode, Target

REFUSED_PAUSE_S = 0.02
PIECE = 2**16


@dataclass(frozen=True, slots=True)
class Attack:
    """One attack. `must` says in words what has to hold, `run` sends it until its time is over.

    `holds_mib` is what the configuration lets it keep in the service's memory at the same time: its
    uploads that are on their way. `prepare` makes, before the time begins, what takes long to make.
    A `silent` attack sends nothing. `like` is the harmless traffic that its cost a byte is compared
    with: heads, bodies or messages; empty where a byte is meant to cost much, as an image's.
    """

    name: str
    number: int  # of the kind, see the guide
    wire: str
    must: str
    run: Callable[[Attacker], Coroutine[Any, Any, None]]
    modes: tuple[Mode, ...] = (Mode.OPEN, Mode.STRANGER, Mode.HOLDER)
    holds_mib: float = 0.0
    like: str = ""
    ends_service: bool = False
    prepare: Callable[[], object] | None = None
    silent: bool = False


@dataclass
class Attacker:
    """The means of one attack: it counts what is sent, and collects what the attack itself saw."""

    target: Target
    until: float  # monotonic seconds
    sent: int = 0
    received: int = 0
    cut: int = 0  # requests that a stop has ended
    problems: list[str] = field(default_factory=list)

    @property
    def left_s(self) -> float:
        """Seconds that are left, at least a moment."""
        return max(0.01, self.until - time.monotonic())

    @property
    def over(self) -> bool:
        """Whether the time is over."""
        return time.monotonic() >= self.until

    async def connect(self, *, rpc: bool = False) -> Line:
        """Open a connection."""
        port = self.target.rpc_port if rpc else self.target.http_port
        opening = asyncio.open_connection(self.target.host, port, limit=2**20)
        reader, writer = await asyncio.wait_for(opening, self.left_s)
        return Line(self, reader, writer)

    def head(self, *fields: str, method: str = "POST", path: str = "", size: int = -1) -> bytes:
        """Return the head of a request, with the key of the attacker, if it has one."""
        lines = [
            f"{method} {path or f'/{self.target.service}/prediction'} HTTP/1.1",
            "Host: attack",
            *fields,
        ]
        if self.target.key:
            lines.append(f"Authorization: Bearer {self.target.key}")
        if size >= 0:
            lines.append(f"Content-Length: {size}")
        return "\r\n".join([*lines, "", ""]).encode()

    async def repeat(self, work: Callable[[], Awaitable[None]], at_once: int = 1) -> None:
        """Do `work` again and again on `at_once` tasks, whatever breaks, until the time is over."""
        tasks = [asyncio.create_task(self._repeat(work)) for _ in range(at_once)]
        _, running = await asyncio.wait(tasks, timeout=self.left_s)
        for task in running:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()) is not None:
                raise error

    async def _repeat(self, work: Callable[[], Awaitable[None]]) -> None:
        while not self.over:
            try:
                await work()
            except (OSError, EOFError, asyncio.TimeoutError, asyncio.LimitOverrunError):
                await asyncio.sleep(REFUSED_PAUSE_S)

    async def exchange(self, content: bytes) -> bytes:
        """Send a request on a connection of its own; return what comes until the reply is whole."""
        line = await self.connect()
        try:
            await line.send(content)
            return await line.reply()
        finally:
            line.close()

    async def post(self, content: bytes, at_once: int = 1, *, refused: bool = False) -> None:
        """Send the same whole request, one after another on each of `at_once` connections.

        Where it must be `refused`, a result is a problem.
        """
        await self.repeat(partial(self._post, content, refused), at_once)

    async def _post(self, content: bytes, refused: bool) -> None:
        reply = await self.exchange(content)
        if refused and b" 200 " in reply.split(b"\r\n", 1)[0] and not self.problems:
            self.problems.append("a request that must be refused got a result")


class Line:
    """A connection that sends what it likes."""

    def __init__(
        self, attacker: Attacker, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.reader, self.writer = reader, writer
        self._attacker = attacker

    async def send(self, content: bytes) -> None:
        """Send bytes; they count as they leave."""
        for start in range(0, len(content), PIECE):
            piece = content[start : start + PIECE]
            self.writer.write(piece)
            await asyncio.wait_for(self.writer.drain(), self._attacker.left_s)
            self._attacker.sent += len(piece)

    async def read_all(self) -> None:
        """Read and forget, until the end of the connection."""
        while piece := await self.reader.read(PIECE):
            self._attacker.received += len(piece)

    async def reply(self) -> bytes:
        """Return head and body of one HTTP reply."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), self._attacker.left_s)
        size = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                size = int(line.partition(b":")[2])
        body = await asyncio.wait_for(self.reader.readexactly(size), self._attacker.left_s)
        self._attacker.received += len(head) + size
        return head + body

    async def flood(self, content: bytes, *, read: bool) -> None:
        """Send `content` again and again, and read what comes unless `read` is off."""
        reading = asyncio.create_task(self.read_all()) if read else None
        try:
            while not self._attacker.over and not self.writer.is_closing():
                await self.send(content)
                if reading is not None and reading.done():
                    break
                await asyncio.sleep(0)
        finally:
            if reading is not None:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError, OSError):
                    await reading
            self.close()

    def close(self) -> None:
        """Close without waiting."""
        self.writer.transport.abort()
