"""The requests that are under way, of every wire, so that a stop can wait for them and end them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class RunningRequests:
    """The requests that have begun to arrive, and whose reply is not complete.

    A transport counts each from its first byte on, since a stop that looked at the engine alone
    would cut off uploads and what is being parsed.

    Attributes:
        is_cutting: whether those that are left are being ended. The desk then replies
            ServiceClosed to a call whose task is cancelled, in the form of its wire.
        cut_off: how many were ended without the reply that they would have got.
    """

    def __init__(self) -> None:
        self.is_cutting = False
        self.cut_off = 0
        self._cut: dict[object, Callable[[], None]] = {}
        # Those that a stop waits for, and what ends its wait.
        self._awaited: set[object] = set()
        self._ended: asyncio.Future[None] | None = None

    def __len__(self) -> int:
        return len(self._cut)

    def begin(self, request: object, cut: Callable[[], None]) -> None:
        """Count `request`, which `cut` ends soon, with an error, if a stop cannot wait for it."""
        self._cut[request] = cut

    def end(self, request: object) -> None:
        """Count `request` no more; it may have been ended before."""
        self._cut.pop(request, None)
        self._awaited.discard(request)
        if self._ended is not None and not self._awaited and not self._ended.done():
            self._ended.set_result(None)

    async def ended(self, timeout_s: float) -> bool:
        """Return whether those that run now end within `timeout_s`; later ones do not count."""
        self._awaited = set(self._cut)
        if self._awaited:
            self._ended = asyncio.get_running_loop().create_future()
            await asyncio.wait((self._ended,), timeout=timeout_s)
        return not self._awaited

    def cut(self) -> None:
        """End all that run."""
        self.is_cutting = True
        for request, cut in list(self._cut.items()):
            if request in self._cut:
                self.cut_off += 1
                cut()
