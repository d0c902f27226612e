"""What the hosts of clients have at once: places that are few are shared between the hosts."""

from __future__ import annotations

import asyncio
from typing import Any

from .sockets import address_of_peer


class ByHost:
    """Calls, or messages that are read, by the host of their client."""

    def __init__(self) -> None:
        # Of a host: the oldest first.
        self._of: dict[str, dict[asyncio.Future[Any], None]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._of.values()))

    def count(self, host: str) -> int:
        """Return how many a host has."""
        return len(self._of.get(host, ()))

    def fullest(self) -> str:
        """Return the host that has most; there is one."""
        return max(self._of, key=self.count)

    def oldest(self, host: str) -> asyncio.Future[Any]:
        """Return what the host has had for longest."""
        return next(iter(self._of[host]))

    def newest(self, host: str) -> asyncio.Future[Any]:
        """Return what came last from the host."""
        return next(reversed(self._of[host]))

    def add(self, host: str, future: asyncio.Future[Any]) -> None:
        """Count `future`, a task too, as one of the host's."""
        self._of.setdefault(host, {})[future] = None

    def remove(self, host: str, future: asyncio.Future[Any]) -> bool:
        """Count `future` no more; return whether it was counted."""
        others = self._of.get(host, {})
        was_there = future in others
        others.pop(future, None)
        if not others:
            self._of.pop(host, None)
        return was_there


def host_of(peer: str) -> str:
    """Return the host of a peer as gRPC names it; other peers are hosts of their own."""
    address = address_of_peer(peer)
    return peer if address is None else address[0]
