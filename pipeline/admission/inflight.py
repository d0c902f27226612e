"""How much of the requests that are read and answered now stands in memory, over both wires.

Half of the budget is set aside, the same part of it for each service, and the other half is for
whoever comes first: a burst at one service never takes all from another. A service alone has the
whole budget.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator

from protocol.errors import Overloaded


class Inflight:
    """A budget of bytes that all requests share; a request gives its part back when answered."""

    def __init__(
        self, limit: int, *, largest: int = 0, services: Callable[[], int] = lambda: 1
    ) -> None:
        """Allow at most `limit` bytes at once.

        Of as many services as `services` tells now, each can have its part; as long as nobody else
        has anything, each can have at least `largest` bytes.
        """
        self.limit = limit
        self.bytes_ = 0
        self._largest = largest
        self._services = services
        self._held: Counter[str] = Counter()

    @contextlib.contextmanager
    def holding(self) -> Iterator[Held]:
        """Have a share of the budget, nothing at first; what it holds is free when this ends."""
        held = Held(self)
        try:
            yield held
        finally:
            self.bytes_ -= held.bytes_
            self._held[held.service] -= held.bytes_
            if not self._held[held.service]:
                del self._held[held.service]

    def take(self, service: str, count: int) -> None:
        """Take `count` bytes for a request to `service`.

        Raises:
            Overloaded: there is no room for them.
        """
        if self.bytes_ + count > self.limit:
            raise Overloaded(
                f"the requests under way fill their {self.limit / 2**20:g} MiB; try again"
            )
        services = self._services()
        if services > 1:
            self._check_shares(service, count, services)
        self.bytes_ += count
        self._held[service] += count

    def _check_shares(self, service: str, count: int, services: int) -> None:
        """Raise Overloaded where `count` more bytes would come out of what is others'."""
        spare = max(0, self.limit - self._largest)
        own = min(self.limit // 2, spare) // services
        wanted = self._held[service] + count - own
        if wanted <= 0:
            return
        common = self.limit - own * services
        taken = sum(max(0, held - own) for name, held in self._held.items() if name != service)
        if taken + wanted > common:
            raise Overloaded(
                f"the requests under way to this service fill its {own / 2**20:g} MiB, and what "
                f"all services share, {common / 2**20:g} MiB, is full; try again"
            )


class Held:
    """What one request takes of the budget."""

    def __init__(self, budget: Inflight) -> None:
        self.bytes_ = 0
        self.service = ""
        self._budget = budget

    def by(self, service: str) -> None:
        """Have taken what follows for a request to `service`; nothing may be held before."""
        self.service = service

    def add(self, count: int) -> None:
        """Take so many bytes more.

        Raises:
            Overloaded: there is no room for them.
        """
        self._budget.take(self.service, count)
        self.bytes_ += count
