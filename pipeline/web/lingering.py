"""The end of a connection whose client may still be sending, so that it gets its last reply.

To close over bytes that were not read resets the connection, and may take the reply away. So what
comes behind the last reply is read and thrown away, without a look at it, for a bounded time, and
at a bounded rate: of one connection, and of all together.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

# A client that sends nothing for so long does not wait for its reply; nor does one after the limit.
LINGER_S = 2.0
LINGER_LIMIT_S = 30.0
LINGER_BYTES = 256 * 2**20
# No faster, so that discarding takes little of the loop, however fast a client sends.
BYTES_A_SECOND = 64 * 2**20
_SHORTEST_PAUSE_S = 0.001
# Decrypting takes longer, and each read of TLS takes a millisecond at most.
_TLS_PAUSE_S = 0.01
# All connections together: a tenth of the event loop, or a quarter where it decrypts.
ALL_BYTES_A_SECOND = 256 * 2**20
_TLS_TURN_S = 0.004


class Pace:
    """The turns of all connections that discard, one after the other."""

    def __init__(self) -> None:
        self._next = 0.0

    def wait_s(self, now: float, turn_s: float) -> float:
        """Return the seconds until the end of one more turn, which takes `turn_s`."""
        self._next = max(self._next, now) + turn_s
        return self._next - now


class Lingering:
    """Discards what `transport` receives, and calls `close` when that is over."""

    def __init__(self, transport: asyncio.Transport, close: Callable[[], None], pace: Pace) -> None:
        """Begin; the write side ends now, where that is possible (not over TLS)."""
        self._transport = transport
        self._close = close
        self._pace = pace
        self._loop = asyncio.get_running_loop()
        self._last = self._loop.time()
        self._ends = self._last + LINGER_LIMIT_S
        self._bytes = 0
        self._pause_s = 0.0
        is_plain = transport.can_write_eof()
        self._least_pause_s = 0.0 if is_plain else _TLS_PAUSE_S
        self._least_turn_s = 0.0 if is_plain else _TLS_TURN_S
        if is_plain:
            with contextlib.suppress(OSError):  # the client has just reset it
                transport.write_eof()
        self._timer = self._loop.call_later(LINGER_S, self._look)
        self._resume = self._loop.call_soon(transport.resume_reading)

    def received(self, size: int) -> None:
        """Note that `size` bytes came, which are gone."""
        self._last = self._loop.time()
        self._bytes += size
        if self._bytes > LINGER_BYTES or self._last > self._ends:
            self._close()
            return
        turn_s = max(size / ALL_BYTES_A_SECOND, self._least_turn_s)
        turns_s = self._pace.wait_s(self._last, turn_s)
        self._pause_s = max(self._pause_s + size / BYTES_A_SECOND, self._least_pause_s, turns_s)
        if self._pause_s > _SHORTEST_PAUSE_S:
            self._transport.pause_reading()
            self._resume = self._loop.call_later(self._pause_s, self._transport.resume_reading)
            self._pause_s = 0.0

    def hurry(self) -> None:
        """Close after `LINGER_S`, whatever comes: the service ends."""
        self._timer.cancel()
        self._timer = self._loop.call_later(LINGER_S, self._close)

    def end(self) -> None:
        """Wait no more."""
        self._timer.cancel()
        self._resume.cancel()

    def _look(self) -> None:
        rest_s = self._last + LINGER_S - self._loop.time()
        if rest_s > 0:
            self._timer = self._loop.call_later(rest_s, self._look)
        else:
            self._close()
