"""A limit on how long a worker may need, which counts only time in which this process ran too.

A container that is paused, and a process that is stopped, do not stop the clock. Counted by the
clock, every worker with a batch would seem to hang at the moment when all goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

# The clock is read so often; a longer gap was a pause. Busy machines and large bodies keep the loop
# from its timers too, for less.
_STEP_S = 0.5


class TimeLimit:
    """Calls `then` once, when `limit_s` seconds have been counted, unless it is cancelled."""

    def __init__(self, limit_s: float, then: Callable[[], None]) -> None:
        """Begin to count; must be called on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._left_s = limit_s
        self._then = then
        self._timer = self._next()

    def cancel(self) -> None:
        """Stop counting; may be called more than once."""
        self._timer.cancel()

    def _next(self) -> asyncio.TimerHandle:
        return self._loop.call_later(min(_STEP_S, self._left_s), self._count, self._loop.time())

    def _count(self, since: float) -> None:
        # What is beyond two steps was a pause.
        self._left_s -= min(self._loop.time() - since, 2 * _STEP_S)
        if self._left_s > 1e-3:
            self._timer = self._next()
        else:
            self._then()
