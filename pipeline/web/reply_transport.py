"""What uvicorn writes a reply to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

_INTERIM = b"HTTP/1.1 1"


class ReplyTransport:
    """The end of a reply is not the end of reading, and nothing is written behind it.

    uvicorn writes the head of a reply and then its body. They are written as one: two writes wake
    the client twice, and between them another thread may take the interpreter's lock.
    """

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        """Write to `transport`; `close` is `end`, when all is written."""
        self.write: Callable[[bytes], None] = self._write
        self.is_closing = transport.is_closing
        self.close = self._close
        self._put: Callable[[bytes], None] = transport.write
        self._end = end
        self._head = b""
        self._flushing: asyncio.Handle | None = None

    def shut(self) -> None:
        """Write no more; forget the connection."""
        self._flush()
        self.write = self._put = _ignore
        self.is_closing = _always
        self.close = self._end = _nothing

    def _write(self, data: bytes) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
            data, self._head = self._head + data, b""
        elif not data.startswith(_INTERIM):
            self._head = data
            # The body comes at once, but to HEAD there is none.
            self._flushing = asyncio.get_running_loop().call_soon(self._flush)
            return
        self._put(data)

    def _flush(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
            head, self._head = self._head, b""
            if not self.is_closing():
                self._put(head)

    def _close(self) -> None:
        self._flush()
        self._end()


def _ignore(_data: bytes) -> None:
    pass


def _nothing() -> None:
    pass


def _always() -> bool:
    return True
