"""What uvicorn writes a reply to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class ReplyTransport:
    """The end of a reply is not the end of reading, and nothing is written behind it."""

    def __init__(self, transport: asyncio.Transport, end: Callable[[], None]) -> None:
        """Write to `transport`; `close` is `end`."""
        self.write: Callable[[bytes], None] = transport.write
        self.is_closing = transport.is_closing
        self.close = end

    def shut(self) -> None:
        """Write no more; forget the connection."""
        self.write = _ignore
        self.is_closing = _always
        self.close = _nothing


def _ignore(_data: bytes) -> None:
    pass


def _nothing() -> None:
    pass


def _always() -> bool:
    return True
