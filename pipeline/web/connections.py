"""The connections of one server: how many there may be, and which one makes room for another."""

from __future__ import annotations

import asyncio
from itertools import chain
from typing import Protocol


class Connection(Protocol):
    """What is needed of a connection here."""

    transport: asyncio.Transport

    @property
    def idle(self) -> bool:
        """Whether no request waits for its reply."""
        ...


class Connections:
    """At most `limit` connections; one too many takes the place of an idle one.

    First of the silent one that has been open longest: who opens connection after connection and
    sends nothing displaces its own, and not those of callers who keep theirs between requests.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # No request of these has had its reply; the oldest first.
        self._silent: dict[Connection, None] = {}
        # The one that was used last is at the end.
        self._used: dict[Connection, None] = {}

    def __len__(self) -> int:
        """How many there are."""
        return len(self._silent) + len(self._used)

    def add(self, connection: Connection) -> bool:
        """Add `connection`; False if there is no room, because all are at work."""
        if len(self) >= self.limit:
            idle = next((each for each in chain(self._silent, self._used) if each.idle), None)
            if idle is None:
                return False
            idle.transport.abort()
            self.remove(idle)  # it is lost later; the place is free now
        self._silent[connection] = None
        return True

    def used(self, connection: Connection) -> None:
        """Note that `connection` has had a reply now."""
        if connection in self._silent or connection in self._used:
            self.remove(connection)
            self._used[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove `connection`, if it is there."""
        self._silent.pop(connection, None)
        self._used.pop(connection, None)
