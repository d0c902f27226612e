"""The connections of one server: how many there may be, and which one makes room for another."""

from __future__ import annotations

import asyncio
from typing import Protocol


class Connection(Protocol):
    """What is needed of a connection here."""

    transport: asyncio.Transport

    @property
    def idle(self) -> bool:
        """Whether no request waits for its reply."""
        ...


class Connections:
    """At most `limit` connections; one too many replaces the one that has been idle longest."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # The one that was used last is at the end.
        self._open: dict[Connection, None] = {}

    def add(self, connection: Connection) -> bool:
        """Add `connection`; False if there is no room, because all are at work."""
        if len(self._open) >= self.limit:
            idle = next((each for each in self._open if each.idle), None)
            if idle is None:
                return False
            idle.transport.abort()
            del self._open[idle]  # it is lost later; the place is free now
        self._open[connection] = None
        return True

    def used(self, connection: Connection) -> None:
        """Note that `connection` was used now."""
        if connection in self._open:
            del self._open[connection]
            self._open[connection] = None

    def remove(self, connection: Connection) -> None:
        """Remove `connection`, if it is there."""
        self._open.pop(connection, None)
