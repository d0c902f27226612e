"""A caller's own deadline; over HTTP `X-Request-Timeout`, in seconds from when its headers came."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from protocol.errors import DeadlineExceeded, InvalidRequest

TIMEOUT_HEADER = "x-request-timeout"

_Result = TypeVar("_Result")


class Deadline:
    """Runs from the moment it is made."""

    def __init__(self, seconds: float | None = None) -> None:
        """End in `seconds` from now; None sets no deadline."""
        self._seconds = seconds
        self._ends = None if seconds is None else time.monotonic() + seconds

    @classmethod
    def from_header(cls, value: str | None) -> Deadline:
        """Read the header's value; None sets no deadline.

        Raises:
            InvalidRequest: it is no number of seconds above 0.
        """
        if value is None:
            return cls()
        text = value.strip()[:20]
        try:
            seconds = float(text)
        except ValueError:
            seconds = math.nan
        if not 0 < seconds < math.inf:
            raise InvalidRequest(
                f"the header X-Request-Timeout is {text!r}; write seconds above 0, 2.5 say"
            )
        return cls(seconds)

    def remaining_s(self) -> float | None:
        """Return the seconds that are left, None without a deadline.

        Raises:
            DeadlineExceeded: none are: sending the request took them all.
        """
        if self._ends is None:
            return None
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self._exceeded()
        return left

    async def within(self, arriving: Coroutine[Any, Any, _Result]) -> _Result:
        """Return what `arriving` does, in time.

        Raises:
            DeadlineExceeded: it takes longer than what is left, and is cancelled.
        """
        try:
            left = self.remaining_s()
        except DeadlineExceeded:
            arriving.close()
            raise
        if left is None:
            return await arriving
        try:
            return await asyncio.wait_for(arriving, left)
        except asyncio.TimeoutError:
            raise self._exceeded() from None

    def _exceeded(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"the request took longer to arrive than its {self._seconds:g} s")
