"""The messages that gRPC is assembling, counted at their connections.

gRPC passes a message on when it is whole. Until then nothing but the kernel knows how many bytes of
it are in memory: it counts what came on each connection. So while messages are waited for that
could exceed the in-flight budget, these numbers are looked at:

    arrived on a connection = received - what its finished messages had

gRPC keeps each frame of a message as a piece of its own, so a message in frames of 24 bytes takes
almost twice what came on the wire: what has arrived counts twice. If all of it does not fit into
what is free of the budget, the calls of the connection with the most of it end in Overloaded, until
the rest fits.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator

from protocol.errors import Overloaded

from ..admission.inflight import Inflight
from .sockets import Address, Port, address_of, address_of_peer, sockets_of

logger = logging.getLogger(__name__)

# A message that is whole sooner is counted by its call alone.
_LOOK_EVERY_S = 0.05
# A look at thousands of connections takes a while, in a thread; no more of the time than this part.
_MOST_OF_TIME = 0.2
# Memory that a byte on the wire may take; measured: 1.1 to 1.7 in frames of 24 or 40 bytes, about 1
# in those of 1 byte, which gRPC joins, and in large ones.
_PIECES = 2
# Headers and frames of one call, about; an error here is forgotten when a connection is quiet.
_BESIDE_MESSAGE = 100
_BLIND = (
    "what arrives of messages over RPC cannot be counted here (%s): max_body_mb for each call is "
    "the limit; mount /proc, or set max_body_mb lower"
)
# tcpi_bytes_received in struct tcp_info (linux/tcp.h).
_BYTES_RECEIVED = slice(128, 136)


class Arriving:
    """What arrives on the connections of one port, within what is free of `inflight`.

    Attributes:
        port: the port; what arrives is counted when its server listens.
        counts: whether what arrives can be counted: not where descriptors cannot be listed, or the
            kernel does not say.
    """

    def __init__(
        self, inflight: Inflight, max_message_bytes: int, port: Port | None = None
    ) -> None:
        self.port = port or Port()
        self.counts = True
        self._inflight = inflight
        self._max_message_bytes = max_message_bytes
        # The oldest first.
        self._readings: dict[asyncio.Future[object], tuple[Address, float]] = {}
        self._finished: dict[Address, int] = {}
        self._looking: asyncio.Task[None] | None = None

    @contextlib.contextmanager
    def reading(self, peer: str, message: asyncio.Future[object]) -> Iterator[None]:
        """Count what comes of `message`, which is cancelled if there is no room for it."""
        address = address_of_peer(peer)
        port = self.port.number
        if address is None or port is None or not self.counts:
            yield
            return
        self._finished.setdefault(address, 0)
        self._readings[message] = address, time.monotonic()
        if self._looking is None:
            self._looking = asyncio.create_task(self._look(port), name="arriving")
        try:
            yield
        finally:
            del self._readings[message]

    def finished(self, peer: str, size: int) -> None:
        """Note that a message of `size` bytes has come; its call has reserved them."""
        address = address_of_peer(peer)
        if address in self._finished:
            self._finished[address] += size + _BESIDE_MESSAGE

    def overloaded(self) -> Overloaded:
        """Return the error of a message that was cancelled."""
        limit = f"{self._inflight.limit / 2**20:g} MiB"
        return Overloaded(f"the messages that arrive do not fit into the {limit}; try again")

    async def _look(self, port: int) -> None:
        pause_s = _LOOK_EVERY_S
        try:
            while self._readings:
                await asyncio.sleep(pause_s)
                pause_s = _LOOK_EVERY_S
                if self._may_exceed():
                    began = time.monotonic()
                    try:
                        received = await asyncio.to_thread(_received, port)
                    except (OSError, AttributeError) as error:
                        self.counts = False
                        logger.warning(_BLIND, error)
                        return
                    pause_s = max(_LOOK_EVERY_S, (time.monotonic() - began) / _MOST_OF_TIME)
                    self._cut_off(received)
        finally:
            self._looking = None

    def _may_exceed(self) -> bool:
        """Return whether the messages that are not here at once could exceed what is free."""
        young = time.monotonic() - _LOOK_EVERY_S
        room = self._free // (_PIECES * self._max_message_bytes)
        return sum(since < young for _, since in self._readings.values()) > room

    @property
    def _free(self) -> int:
        return self._inflight.limit - self._inflight.reserved

    def _cut_off(self, received: dict[Address, int]) -> None:
        arrived = self._arrived(received)
        while sum(arrived.values()) > self._free:
            most = max(arrived, key=arrived.__getitem__)
            del arrived[most]
            for message, (address, _) in list(self._readings.items()):
                if address == most:
                    message.cancel()

    def _arrived(self, received: dict[Address, int]) -> dict[Address, int]:
        """Return what unfinished messages may take, by connection; forget the others' past."""
        reading = Counter(address for address, _ in self._readings.values())
        finished = {
            # Less than what was counted: another connection from the same port.
            address: 0 if count < self._finished.get(address, 0) else self._finished[address]
            for address, count in received.items()
            if address in reading and address in self._finished
        }
        self._finished = {**received, **finished}
        return {
            address: _PIECES
            * min(received[address] - done, 2 * reading[address] * self._max_message_bytes)
            for address, done in finished.items()
        }


def _received(port: int) -> dict[Address, int]:
    """Return the bytes that have come on each connection of `port`."""
    received: dict[Address, int] = {}
    for each in sockets_of(port):
        with contextlib.suppress(OSError):  # it listens, or has just been closed
            address = address_of(each.getpeername())
            info = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.stop)
            received[address] = int.from_bytes(info[_BYTES_RECEIVED], sys.byteorder)
    return received
