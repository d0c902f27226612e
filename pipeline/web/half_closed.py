"""Clients that close their side of a connection behind a request.

One that ends what it sends (`shutdown`) waits for its reply. One that has left (`close`) looks the
same, until something is sent to it: its system then answers with a reset. So an interim reply is
sent, which every client of HTTP/1.1 skips (RFC 9110, 15.2), and the socket is looked at.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

INTERIM_REPLY = b"HTTP/1.1 100 Continue\r\n\r\n"
_FIRST_LOOK_S = 0.02
_LOOK_EVERY_S = 1.0


class HalfClosed:
    """Calls `left` when the client of `transport` has closed its connection as a whole."""

    def __init__(self, transport: asyncio.Transport, left: Callable[[], None]) -> None:
        """Begin to look; the interim reply has been sent."""
        self._socket: socket.socket = transport.get_extra_info("socket")
        self._left = left
        self._loop = asyncio.get_running_loop()
        self._look_s = _FIRST_LOOK_S
        self._timer = self._loop.call_later(self._look_s, self._look)

    def end(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        # The event loop does not watch a socket whose end it has read.
        if self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._left()
            return
        self._look_s = min(2 * self._look_s, _LOOK_EVERY_S)
        self._timer = self._loop.call_later(self._look_s, self._look)
