"""The calls of health and reflection: small messages, few at once, short waits.

Health needs no key, so its calls must cost next to nothing. gRPC assembles a message before its
size can be checked, up to the limit of the port, which is that of images. So few of these messages
are read at once, and what arrives of them is counted as it arrives. An honest one is there within a
millisecond. If all places are taken, the host with most of them loses one, at once: a probe waits
for no caller who sends nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio

from .arriving import Arriving
from .by_host import ByHost, host_of
from .packing import unpacked_small

# A message is the name of a service, or of a symbol.
MOST_BYTES = 4096
# Messages that are read at once; fewer where nothing counts what arrives of them.
READINGS = 64
UNCOUNTED_READINGS = 4
READ_TIMEOUT_S = 10.0
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

_Context = grpc.aio.ServicerContext[Any, Any]


class Calls:
    """At most `limit` calls of a kind, and `per_connection` of them on one connection.

    One too many takes the place of the newest call of the host with most, unless that is its own.
    """

    def __init__(self, kind: str, limit: int, per_connection: int) -> None:
        self._kind = kind
        self._limit = limit
        self._per_connection = per_connection
        self._by_peer: Counter[str] = Counter()
        self._by_host = ByHost()

    @property
    def running(self) -> int:
        """How many calls have a place."""
        return len(self._by_host)

    @contextlib.contextmanager
    def place(self, context: _Context) -> Iterator[None]:
        """Count a call, whose task this is, while it runs.

        Raises:
            PlacesTaken: there are too many, or its place was needed for another host's call.
        """
        peer = context.peer()
        if self._by_peer[peer] >= self._per_connection:
            raise PlacesTaken(
                f"this connection has {self._per_connection} calls of {self._kind}, the most that "
                "one may have; end one of them first"
            )
        host, task = host_of(peer), asyncio.current_task()
        assert task is not None  # noqa: S101 - gRPC runs each call in a task
        self._make_room(host)
        self._by_host.add(host, task)
        self._by_peer[peer] += 1
        try:
            yield
        except asyncio.CancelledError:
            if self._by_host.remove(host, task):
                raise
            raise self._taken() from None
        finally:
            self._by_host.remove(host, task)
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]

    def _make_room(self, host: str) -> None:
        if self.running < self._limit:
            return
        fullest = self._by_host.fullest()
        if self._by_host.count(host) + 1 >= self._by_host.count(fullest):
            raise self._taken()
        newest = self._by_host.newest(fullest)
        self._by_host.remove(fullest, newest)
        newest.cancel()

    def _taken(self) -> PlacesTaken:
        return PlacesTaken(
            f"{self._limit} calls of {self._kind} run, the most there may be; try again later"
        )


class PlacesTaken(Exception):
    """There is no place for one more call."""


class Messages:
    """Reads small messages; what arrives of them is counted in `arriving`."""

    def __init__(self, arriving: Arriving) -> None:
        self._arriving = arriving
        self._readings = ByHost()

    async def next_of(self, context: _Context) -> bytes | None:
        """Return the next message of a call, None at the end of its messages.

        Raises:
            AbortError: it does not come in time, lost its place to another, or is too large.
        """
        peer = context.peer()
        host = host_of(peer)
        self._make_room()
        reading = asyncio.ensure_future(context.read())
        self._readings.add(host, reading)
        try:
            with self._arriving.reading(peer, reading):
                await asyncio.wait((reading,), timeout=READ_TIMEOUT_S)
        finally:
            self._readings.remove(host, reading)
            is_there, is_displaced = reading.done(), reading.cancelled()
            reading.cancel()
        if is_displaced:
            await context.abort(_EXHAUSTED, "the message did not come; its place was needed")
        if not is_there:
            late = f"the message did not come within {READ_TIMEOUT_S:g} s"
            await context.abort(grpc.StatusCode.DEADLINE_EXCEEDED, late)
        message = reading.result()
        if message is grpc.aio.EOF:
            return None
        self._arriving.finished(peer, len(message))
        if len(message) > MOST_BYTES:
            text = f"the message has {len(message)} bytes; the limit here is {MOST_BYTES}"
            await context.abort(_EXHAUSTED, text)
        try:
            return unpacked_small(bytes(message), MOST_BYTES)
        except ValueError as error:
            text = f"the message cannot be unpacked: {error}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)

    def _make_room(self) -> None:
        most = READINGS if self._arriving.counts else UNCOUNTED_READINGS
        if len(self._readings) >= most:
            fullest = self._readings.fullest()
            oldest = self._readings.oldest(fullest)
            self._readings.remove(fullest, oldest)
            oldest.cancel()
