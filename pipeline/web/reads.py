"""How much is read from a connection at a time: what its protocol wants, and no more.

The event loop would read 256 KB at a time, of which each of thousands of connections could leave
all behind a request that is not answered yet.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Protocol

# Of a head, or of a body whose size is not known: as much may be left behind a request. With less,
# a body of some megabytes takes half as long again.
PIECE_BYTES = 64 * 1024
# Of a body of known size, and of what is discarded.
MOST_BYTES = 256 * 1024
# Of TLS: records may have one byte each, and each takes microseconds.
LEAST_BYTES = 256
FIRST_BYTES = 1024
LONG_S = 0.001


class Reading(Protocol):
    """What a protocol of asyncio has, with the number of bytes that it wants next."""

    @property
    def wants(self) -> int: ...  # noqa: D102 - see above

    def connection_made(self, transport: Any) -> None: ...  # noqa: D102, ANN401
    def connection_lost(self, exc: Exception | None) -> None: ...  # noqa: D102
    def data_received(self, data: memoryview) -> None: ...  # noqa: D102
    def eof_received(self) -> bool | None: ...  # noqa: D102
    def take_turns(self) -> None: ...  # noqa: D102
    def pause_writing(self) -> None: ...  # noqa: D102
    def resume_writing(self) -> None: ...  # noqa: D102


class ReadBuffer:
    """The buffer of all connections of one event loop: what is read is taken out at once."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(MOST_BYTES))


class BoundedReads(asyncio.BufferedProtocol):
    """Reads for `protocol`, whose `data_received` must copy what it keeps."""

    def __init__(self, protocol: Reading, buffer: ReadBuffer) -> None:
        self.protocol = protocol
        self._view = buffer.view
        # The loop's own calls, passed on.
        self.connection_lost = protocol.connection_lost  # type: ignore[method-assign]
        self.connection_made = protocol.connection_made  # type: ignore[method-assign]
        self.eof_received = protocol.eof_received  # type: ignore[method-assign]
        self.pause_writing = protocol.pause_writing  # type: ignore[method-assign]
        self.resume_writing = protocol.resume_writing  # type: ignore[method-assign]

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to read to, as large as is wanted."""
        return self._view[: self.protocol.wants]

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was read."""
        self.protocol.data_received(self._view[:nbytes])


class TlsReads(BoundedReads):
    """The same over TLS: at most as many bytes as are decrypted within about a millisecond."""

    def __init__(self, protocol: Reading, buffer: ReadBuffer) -> None:
        super().__init__(protocol, buffer)
        self._most = FIRST_BYTES
        self._size = 0
        self._began = 0.0

    def get_buffer(self, _sizehint: int) -> memoryview:
        """Return where to decrypt to."""
        self._size = min(self.protocol.wants, self._most)
        # Of this thread, so that a busy machine makes no read a long one.
        self._began = time.thread_time()
        return self._view[: self._size]

    def buffer_updated(self, nbytes: int) -> None:
        """Pass on what was decrypted; where there may be more, others come first."""
        seconds = time.thread_time() - self._began
        if seconds > LONG_S:
            self._most = max(self._most // 4, LEAST_BYTES)
        elif nbytes == self._size and seconds < LONG_S / 4:
            self._most = min(2 * self._most, MOST_BYTES)
        self.protocol.data_received(self._view[:nbytes])
        if nbytes == self._size:
            self.protocol.take_turns()
