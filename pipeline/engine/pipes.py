"""Frames of `frames` over a pair of pipes, with a deadline for each."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import time
from collections.abc import Sequence
from typing import NamedTuple

from .frames import (
    LENGTHS_BYTES,
    MAX_HEADER_BYTES,
    FrameError,
    Header,
    lengths_of,
    pack,
    parse_header,
)

_PIPE_BYTES = 2**20  # the kernel grants less where its own limit is lower


class Message(NamedTuple):
    """A header and the bytes that follow it."""

    header: Header
    payload: bytearray


class Pipes:
    """One end of a connection; `deadline` is a time of time.monotonic(), None waits for ever."""

    def __init__(self, reading: int, writing: int) -> None:
        """Use these descriptors, which stay the caller's to close."""
        self._reading = reading
        self._writing = writing
        for descriptor in (reading, writing):
            os.set_blocking(descriptor, False)
            with contextlib.suppress(OSError, AttributeError):
                fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)

    def send(
        self,
        header: Header,
        payload: Sequence[bytes | memoryview] = (),
        deadline: float | None = None,
    ) -> None:
        """Send one frame.

        Raises:
            TimeoutError: the other side did not take it in time.
            OSError: the other side is gone.
        """
        size = sum(memoryview(part).nbytes for part in payload)
        for part in (pack(header, size), *payload):
            left = memoryview(part).cast("B")
            while left.nbytes:
                _wait(self._writing, select.POLLOUT, deadline)
                with contextlib.suppress(BlockingIOError):
                    left = left[os.write(self._writing, left) :]

    def receive(self, deadline: float | None = None) -> Message | None:
        """Wait for one frame; None when the other side has closed.

        Raises:
            TimeoutError: it was not there in time.
            FrameError: the bytes are no frame.
        """
        lengths = self._read(LENGTHS_BYTES, deadline)
        if not lengths:
            return None
        payload_bytes, header_bytes = lengths_of(bytes(lengths))
        if header_bytes > MAX_HEADER_BYTES:
            raise FrameError(f"a header of {header_bytes} bytes")
        header = parse_header(bytes(self._read(header_bytes, deadline)))
        payload = self._read(payload_bytes, deadline)
        if len(payload) != payload_bytes:
            raise FrameError("the connection ended within a frame")
        return Message(header, payload)

    def wait(self, deadline: float) -> bool:
        """Wait for something to receive, or for the end of the stream; False after `deadline`."""
        try:
            _wait(self._reading, select.POLLIN, deadline)
        except TimeoutError:
            return False
        return True

    def _read(self, size: int, deadline: float | None) -> bytearray:
        """Read `size` bytes, or up to the end of the stream."""
        data = bytearray(size)
        view, got = memoryview(data), 0
        while got < size:
            _wait(self._reading, select.POLLIN, deadline)
            try:
                more = os.readv(self._reading, [view[got:]])
            except BlockingIOError:
                continue
            if not more:
                view.release()
                return data[:got]
            got += more
        return data


def _wait(descriptor: int, event: int, deadline: float | None) -> None:
    poll = select.poll()
    poll.register(descriptor, event)
    left_ms = None if deadline is None else max(0.0, 1e3 * (deadline - time.monotonic()))
    if not poll.poll(left_ms):
        raise TimeoutError
