"""The end of a gRPC server without a cancelled call.

`grpc.aio.Server.stop` refuses calls from its first moment on, and those that are on their way then
end in CANCELLED, which no client tries again: a few in each stop under load. Nothing else of gRPC
sends GOAWAY, after which clients go elsewhere. So the connections are closed first, from outside:

    the port listens no more ──▶ each connection, when no call runs on it: GOAWAY
                             ──▶ when none has come since: GOAWAY again, closed
                                 (a call that comes before is answered)
                             ──▶ none is left, or time is up: `stop`

To clients the first GOAWAY says that no more calls are welcome, and that those on their way are
processed: nginx cannot send a call of gRPC again. The second says that calls behind it were not
processed, so they send them again, to another server. Over TLS, where nothing can be sent beside
gRPC, the connection is closed alone; calls on their way end in UNAVAILABLE.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import socket
import termios
import time
from typing import Any

import grpc.aio

from ..admission.listen_queue import accepted
from .sockets import Address, address_of, address_of_peer, sockets_of

logger = logging.getLogger(__name__)

# What gRPC has to write when a call is over is with the kernel by then.
_QUIET_S = 0.1
_LOOK_EVERY_S = 0.05
# RFC 9113, 6.8: length 8, type 7, no flags, stream 0; last stream, NO_ERROR.
_GOAWAY_HEAD = bytes((0, 0, 8, 7, 0, 0, 0, 0, 0))
_GOAWAY_SOON = _GOAWAY_HEAD + bytes((0x7F, 0xFF, 0xFF, 0xFF)) + bytes(4)
_GOAWAY = _GOAWAY_HEAD + bytes(8)
# How long a client has to close the connection after the first GOAWAY, as gRPC's own, nginx and
# Envoy do when no call of theirs runs on it. What it sent before has come by then.
NOTICE_S = 2.0


class RunningCalls:
    """How many calls run on each connection, by the address of the client.

    Those that begin after `is_leaving` is set are counted apart: a connection in constant use would
    never be quiet otherwise, and could not be sent a GOAWAY.
    """

    def __init__(self) -> None:
        self.is_leaving = False
        self._running: dict[Address, int] = {}
        self._late: dict[Address, int] = {}
        self._ended: dict[Address, float] = {}

    def add(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Count a call until it is over and its reply is with gRPC."""
        address = address_of_peer(context.peer())
        if address is None:
            return
        if self.is_leaving:
            self._late[address] = self._late.get(address, 0) + 1
            context.add_done_callback(lambda _: self._end_late(address))  # type: ignore[arg-type]
            return
        self._running[address] = self._running.get(address, 0) + 1
        context.add_done_callback(lambda _: self._end(address))  # type: ignore[arg-type]

    def is_quiet(self, address: Address) -> bool:
        """Return whether no call runs on a connection, and none has just ended."""
        ended = self._ended.get(address, 0.0)
        return address not in self._running and time.monotonic() - ended > _QUIET_S

    def is_late(self, address: Address) -> bool:
        """Return whether a call runs that began after `is_leaving` was set."""
        return address in self._late

    def _end_late(self, address: Address) -> None:
        left = self._late[address] - 1
        if left:
            self._late[address] = left
        else:
            del self._late[address]

    def _end(self, address: Address) -> None:
        left = self._running[address] - 1
        if left:
            self._running[address] = left
            return
        del self._running[address]
        now = time.monotonic()
        # In the order of their end, so the old ones are first.
        self._ended.pop(address, None)
        self._ended[address] = now
        while now - next(iter(self._ended.values())) > _QUIET_S:
            del self._ended[next(iter(self._ended))]


class RpcPort:
    """A server and the port that it listens on.

    Args:
        server: has been started.
        port: no other server has it.
        calls: what the server's handlers count.
        tls: whether the port speaks TLS.
    """

    def __init__(
        self, server: grpc.aio.Server, port: int, calls: RunningCalls, *, tls: bool
    ) -> None:
        self._server = server
        self._port = port
        self._calls = calls
        self._tls = tls
        self._seen: dict[Address, float] = {}
        self._noticed: dict[Address, float] = {}

    async def leave(self, within_s: float) -> None:
        """Close the port and its connections, and stop; calls have `within_s` seconds to end."""
        ends = time.monotonic() + within_s
        self._calls.is_leaving = True
        try:
            await _close_listening(self._port)
            while await asyncio.to_thread(self._close_quiet):
                if time.monotonic() > ends:
                    break
                await asyncio.sleep(_LOOK_EVERY_S)
        except OSError as error:  # descriptors cannot be listed here
            logger.warning("gRPC is stopped by its own means (%s)", error)
            await self._server.stop(within_s)
        await self._server.stop(0)

    def _close_quiet(self) -> int:
        """Close the connections on which no call runs; return how many are left."""
        left = 0
        for each in sockets_of(self._port):
            with contextlib.suppress(OSError):  # the client has just closed it
                address = address_of(each.getpeername())
                if not self._is_quiet(address) or not self._is_noticed(address, each):
                    left += 1
                    continue
                if not self._tls:
                    each.send(_GOAWAY, socket.MSG_DONTWAIT)
                each.shutdown(socket.SHUT_RDWR)
        return left

    def _is_quiet(self, address: Address) -> bool:
        """Whether no call runs on a connection, and gRPC has had the time to greet a new one."""
        seen = self._seen.setdefault(address, time.monotonic())
        return time.monotonic() - seen > _QUIET_S and self._calls.is_quiet(address)

    def _is_noticed(self, address: Address, connection: socket.socket) -> bool:
        """Whether the client has seen the first GOAWAY, and what it sent before has its reply.

        The GOAWAY is sent now if it was not.
        """
        if self._tls:
            return True
        if address not in self._noticed:
            connection.send(_GOAWAY_SOON, socket.MSG_DONTWAIT)
            self._noticed[address] = time.monotonic()
        has_seen = time.monotonic() - self._noticed[address] > NOTICE_S
        return has_seen and not self._calls.is_late(address) and not _has_unread(connection)


async def _close_listening(port: int) -> None:
    """Close the sockets that listen, when gRPC has accepted what waits in their queues."""
    for each in await asyncio.to_thread(_listening, port):
        with each:
            await accepted(each)
            each.shutdown(socket.SHUT_RDWR)


def _listening(port: int) -> list[socket.socket]:
    return [
        each.dup()
        for each in sockets_of(port)
        if each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ]


def _has_unread(connection: socket.socket) -> bool:
    """Return whether bytes have come that gRPC has not read yet."""
    return fcntl.ioctl(connection, termios.FIONREAD, bytes(4)) != bytes(4)
