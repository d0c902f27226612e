"""The deadline of a request: the caller's own, or the service's timeout, whichever ends sooner.

The caller's own runs from the first byte of the request; over HTTP it is `X-Request-Timeout`, in
seconds. The service's timeout runs from the last byte of the body: how long a caller without a
deadline takes to send is bounded by the connection. Both cover unpacking, parsing, queue and work.
"""

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
    """A time by which a request is answered, or none."""

    def __init__(self, seconds: float | None = None, began: float | None = None) -> None:
        """End `seconds` after `began`, a time of `time.monotonic`; None is now.

        `seconds` None sets no deadline.
        """
        began = time.monotonic() if began is None else began
        self._seconds = seconds
        self._ends = math.inf if seconds is None else began + seconds

    @classmethod
    def from_header(cls, value: str | None, began: float | None = None) -> Deadline:
        """Read the header's value, seconds after `began`; None sets no deadline.

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
        return cls(seconds, began)

    def sooner(self, seconds: float | None, began: float | None) -> Deadline:
        """Return this deadline, or one `seconds` after `began` if that ends sooner."""
        other = Deadline(seconds, began)
        return other if other._ends < self._ends else self

    @property
    def is_over(self) -> bool:
        """Whether its time has passed."""
        return time.monotonic() >= self._ends

    def remaining_s(self) -> float | None:
        """Return the seconds that are left, None without a deadline.

        Raises:
            DeadlineExceeded: none are: sending the request and parsing it took them all.
        """
        if self._seconds is None:
            return None
        left = self._ends - time.monotonic()
        if left <= 0:
            raise self._too_late("to arrive and to be parsed")
        return left

    async def within(self, arriving: Coroutine[Any, Any, _Result], what: str) -> _Result:
        """Return what `arriving` does, in time; `what` it does stands in the error.

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
            raise self._too_late(what) from None

    def unanswered(self) -> DeadlineExceeded:
        """Return the error for a request that was read in time, and has no reply."""
        return DeadlineExceeded(f"no answer within {self._seconds:.3g} s")

    def _too_late(self, what: str) -> DeadlineExceeded:
        return DeadlineExceeded(f"the request took longer {what} than its {self._seconds:.3g} s")
