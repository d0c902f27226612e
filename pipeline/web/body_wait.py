"""The wait for a body: it ends where too little comes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from .body_count import BodyCount

# A body may take this long; longer while it comes at this rate, and at most to the limit.
BODY_PATIENCE_S = 30.0
SLOWEST_BYTES_A_SECOND = 4096
LOOK_EVERY_S = 10.0
BODY_LIMIT_S = 600.0


class BodyWait:
    """Calls `too_slow`, with what is wrong, when a body comes too slowly."""

    def __init__(
        self,
        body: BodyCount,
        is_paused: Callable[[], bool],
        too_slow: Callable[[str], None],
    ) -> None:
        """Begin to wait; `is_paused` says whether the service itself does not read now."""
        self._body = body
        self._is_paused = is_paused
        self._too_slow = too_slow
        self._loop = asyncio.get_running_loop()
        self._began = self._loop.time()
        self._look_in(BODY_PATIENCE_S)

    def end(self) -> None:
        """Wait no more."""
        self._timer.cancel()

    def _look_in(self, seconds: float) -> None:
        looked = seconds, self._body.bytes
        self._timer = self._loop.call_later(seconds, self._look, *looked)

    def _look(self, since_s: float, seen_bytes: int) -> None:
        seconds = self._loop.time() - self._began
        enough = self._body.bytes - seen_bytes >= SLOWEST_BYTES_A_SECOND * since_s
        # Reading is paused where the service itself is behind; that is not the sender's fault.
        if (enough or self._is_paused()) and seconds < BODY_LIMIT_S:
            self._look_in(LOOK_EVERY_S)
        else:
            self._too_slow(
                f"{self._body.bytes} bytes of the body came within {seconds:.0f} s: too slow"
            )
