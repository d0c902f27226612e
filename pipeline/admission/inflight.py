"""The in-flight budget: how many bytes of requests may be in memory at once.

One plain bound for all services and both wires. A request reserves bytes while its body arrives and
frees them when it is answered, or when the thread that still parses it has ended; a request that
finds no room is refused at once.
"""

from __future__ import annotations

from types import TracebackType

from protocol.errors import Overloaded


class Inflight:
    """A budget of `limit` bytes that all requests share."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.reserved = 0

    def reservation(self) -> Reservation:
        """Return a reservation of no bytes; use it as a context manager, which frees its bytes."""
        return Reservation(self)


class Reservation:
    """The bytes of one request; they are freed when the last who shares them releases them."""

    def __init__(self, budget: Inflight) -> None:
        self._budget = budget
        self._bytes = 0
        self._users = 0

    def __enter__(self) -> Reservation:
        self.share()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def share(self) -> None:
        """Keep the bytes reserved until `release` is called once more."""
        self._users += 1

    def release(self) -> None:
        """End what began with `share`."""
        self._users -= 1
        if not self._users:
            self._budget.reserved -= self._bytes
            self._bytes = 0

    def add(self, count: int) -> None:
        """Reserve `count` more bytes.

        Raises:
            Overloaded: the budget has no room for them.
        """
        budget = self._budget
        if budget.reserved + count > budget.limit:
            raise Overloaded(
                f"the requests in memory fill their {budget.limit / 2**20:g} MiB; try again"
            )
        budget.reserved += count
        self._bytes += count
