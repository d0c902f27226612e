"""The requests that an engine has admitted, until they are done."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from protocol.errors import DeadlineExceeded, ServingError

from .entries import Entry, Request
from .status import Counters
from .waiting import WaitingEntries


class OpenRequests:
    """Ends requests, in whatever way, and counts their images."""

    def __init__(self, counters: Counters, waiting: WaitingEntries) -> None:
        """Begin with none; entries of requests that end are dropped from `waiting`."""
        self._counters = counters
        self._waiting = waiting
        self._open: set[Request] = set()
        self._empty: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: Request) -> None:
        """Take in a request that has been admitted."""
        self._open.add(request)

    def dismiss(self, request: Request, entries: Sequence[Entry]) -> None:
        """Forget a request that is done, and those of its entries that still wait."""
        if request.abandoned:
            self._counters.abandoned += request.unsettled
        if request.unsettled:
            self._waiting.discard(entries)
        self._open.discard(request)
        if self._empty is not None and not self._open and not self._empty.done():
            self._empty.set_result(None)

    def expire(self, request: Request, limit_s: float) -> None:
        """The time of a request is over."""
        if not request.done:
            self._counters.expired += request.unsettled
            request.fail(DeadlineExceeded, f"no answer within {limit_s:.3g} s")

    def fail_all(self, kind: type[ServingError], text: str) -> None:
        """End every request with an error."""
        for request in list(self._open):
            if not request.done:
                self._counters.failed += request.unsettled
                request.fail(kind, text)

    async def ended(self, timeout_s: float) -> bool:
        """Wait until none is open; return whether that was within `timeout_s`."""
        if self._empty is None or self._empty.done():
            self._empty = asyncio.get_running_loop().create_future()
        if self._open:
            await asyncio.wait((self._empty,), timeout=timeout_s)
        return not self._open
