"""The network as httpcore uses it: one deadline and one bound of bytes for a whole exchange.

httpcore's own times are for each wait: a server that sends a byte before each of them is over keeps
a client for ever. Here every wait lasts until the deadline of the exchange at most: looking up the
name, connecting to each address, the handshake, CONNECT of a proxy, sending, the head, the body.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import httpcore

from client.addresses import addresses_of
from client.deadline import Deadline
from client.tls_in_tls import TlsInTls

CONNECT_TIMEOUT_S = 5.0
MOST_HEAD_BYTES = 64 * 1024
# Until the head is complete no more than this is read at a time, so that little comes behind it.
_HEAD_PIECE = 16 * 1024


class OverBoundError(Exception):
    """The server sends more than it may; the text says of what."""


class Exchange:
    """What one exchange has left, and what it has received.

    Attributes:
        deadline: when it must be over.
        start: the first bytes that the server sent.
        closed: whether the server has closed its side.
    """

    def __init__(self, deadline: Deadline) -> None:
        self.deadline = deadline
        self.start = b""
        self.closed = False
        self._received = 0
        self._most = MOST_HEAD_BYTES
        self._in_head = True

    def allow_body(self, most_bytes: int) -> None:
        """Allow so many bytes from now on; before, what a head may take."""
        self._in_head = False
        self._most = self._received + most_bytes

    def next_piece(self, most_bytes: int) -> int:
        """Return how many bytes may be read at once.

        Raises:
            OverBoundError: there are more already.
        """
        if self._received > self._most:
            what = "its head" if self._in_head else "its body, as it is packed,"
            raise OverBoundError(f"{what} is over the bound of {self._most} bytes")
        return min(most_bytes, _HEAD_PIECE) if self._in_head else most_bytes

    def received(self, data: bytes) -> None:
        """Count what was read."""
        if not self._received:
            self.start = data[:200]
        self._received += len(data)
        self.closed = not data


class Network(httpcore.NetworkBackend):
    """Connections of which each operation belongs to the exchange of the thread that calls it."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()
        self._current = threading.local()

    @contextlib.contextmanager
    def within(self, exchange: Exchange) -> Iterator[None]:
        """Let what this thread does inside belong to `exchange`."""
        self._current.exchange = exchange
        try:
            yield
        finally:
            del self._current.exchange

    def exchange(self) -> Exchange:
        """Return the exchange of this thread."""
        found: Exchange = self._current.exchange
        return found

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the exchange has its own
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of `host` that answers, within the deadline."""
        deadline = self.exchange().deadline.sooner(CONNECT_TIMEOUT_S)
        try:
            addresses = addresses_of(host, port, deadline)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        failure: Exception = httpcore.ConnectError(f"{host} has no address")
        for position, (address, number) in enumerate(addresses, 1):
            # An address that swallows packets leaves time for those behind it.
            attempt = deadline.shared(len(addresses) - position)
            try:
                stream = self._inner.connect_tcp(
                    address, number, _seconds(attempt), local_address, socket_options
                )
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
                continue
            return Stream(stream, self)
        raise failure


class Stream(httpcore.NetworkStream):
    """A connection, of which each operation is within the deadline of its exchange."""

    def __init__(self, inner: httpcore.NetworkStream, network: Network) -> None:
        self._inner = inner
        self._network = network

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        """Return what is there, and wait for it until the deadline at most."""
        exchange = self._network.exchange()
        piece = exchange.next_piece(max_bytes)
        data = self._inner.read(piece, _left(exchange, httpcore.ReadTimeout))
        exchange.received(data)
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        """Send everything; httpcore's own loop would wait anew after each part that was sent."""
        exchange = self._network.exchange()
        connection = self.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                connection.settimeout(_left(exchange, httpcore.WriteTimeout))
                rest = rest[connection.send(rest) :]
        except TimeoutError as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        """Shake hands; Python's own handshake keeps to its time as a whole."""
        exchange = self._network.exchange()
        if isinstance(self.get_extra_info("socket"), ssl.SSLSocket):
            return TlsInTls(self, ssl_context, server_hostname)
        deadline = exchange.deadline.sooner(CONNECT_TIMEOUT_S)
        secured = self._inner.start_tls(ssl_context, server_hostname, _seconds(deadline))
        return Stream(secured, self._network)

    def close(self) -> None:
        """Close the connection."""
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore has it
        """Return what httpcore's own stream says."""
        return self._inner.get_extra_info(info)


def _seconds(deadline: Deadline) -> float:
    """Return the time for a step of connecting."""
    left_s = deadline.left_s()
    if left_s <= 0:
        raise httpcore.ConnectTimeout("the time is over")
    return left_s


def _left(exchange: Exchange, timeout: type[httpcore.TimeoutException]) -> float:
    left_s = exchange.deadline.left_s()
    if left_s <= 0:
        raise timeout("the time is over")
    return left_s
