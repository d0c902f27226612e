"""The calls of health and reflection: small messages, few at once, short waits.

Health needs no key, so its calls must cost next to nothing. gRPC assembles a message before its
size can be checked, up to the limit of the port, which is that of images. So few of these messages
are read at once. An honest one is there within a millisecond. If all places are taken for longer,
one more takes the place of the message that has been waited for longest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio

from .packing import unpacked_small

# A message is the name of a service, or of a symbol.
MOST_BYTES = 4096
# Messages that are read at once, and how long each has its place for sure.
READINGS = 4
_OWN_S = 0.1
READ_TIMEOUT_S = 10.0
_EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED

_Context = grpc.aio.ServicerContext[Any, Any]


class Calls:
    """At most `limit` calls of a kind, and `per_connection` of them on one connection."""

    def __init__(self, kind: str, limit: int, per_connection: int) -> None:
        self._kind = kind
        self._limit = limit
        self._per_connection = per_connection
        self.running = 0
        self._by_peer: Counter[str] = Counter()

    @contextlib.contextmanager
    def place(self, context: _Context) -> Iterator[None]:
        """Count a call while it runs.

        Raises:
            PlacesTaken: there are too many.
        """
        peer = context.peer()
        if self._by_peer[peer] >= self._per_connection:
            raise PlacesTaken(
                f"this connection has {self._per_connection} calls of {self._kind}, the most that "
                "one may have; end one of them first"
            )
        if self.running >= self._limit:
            raise PlacesTaken(
                f"{self._limit} calls of {self._kind} run, the most there may be; try again later"
            )
        self.running += 1
        self._by_peer[peer] += 1
        try:
            yield
        finally:
            self.running -= 1
            self._by_peer[peer] -= 1
            if not self._by_peer[peer]:
                del self._by_peer[peer]


class PlacesTaken(Exception):
    """There is no place for one more call."""


class Messages:
    """Reads small messages, `READINGS` at once."""

    def __init__(self) -> None:
        # The oldest first.
        self._readings: dict[asyncio.Future[Any], float] = {}

    async def next_of(self, context: _Context) -> bytes | None:
        """Return the next message of a call, None at the end of its messages.

        Raises:
            AbortError: it does not come in time, lost its place to another, or is too large.
        """
        await self._make_room()
        reading = asyncio.ensure_future(context.read())
        self._readings[reading] = time.monotonic()
        # First of its callbacks: who waits for its end finds the place free.
        reading.add_done_callback(self._forget)
        try:
            await asyncio.wait((reading,), timeout=READ_TIMEOUT_S)
        finally:
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
        if len(message) > MOST_BYTES:
            text = f"the message has {len(message)} bytes; the limit here is {MOST_BYTES}"
            await context.abort(_EXHAUSTED, text)
        try:
            return unpacked_small(bytes(message), MOST_BYTES)
        except ValueError as error:
            text = f"the message cannot be unpacked: {error}"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)

    async def _make_room(self) -> None:
        while len(self._readings) >= READINGS:
            oldest, since = next(iter(self._readings.items()))
            left_s = since + _OWN_S - time.monotonic()
            if left_s > 0:
                await asyncio.wait((oldest,), timeout=left_s)
            else:
                del self._readings[oldest]
                oldest.cancel()

    def _forget(self, reading: asyncio.Future[Any]) -> None:
        self._readings.pop(reading, None)
