"""The service process's end of a worker's socket, on its event loop, without copying images."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
from collections import deque
from collections.abc import Callable, Sequence

from .frames import Frame, FrameBuffer, FrameError, Header, pack

_READ_BYTES = 256 * 1024
_SOCKET_BUFFER_BYTES = 2**20  # the kernel grants less where its own limit is lower
_BUFFERS_A_CALL = 512  # below the kernel's IOV_MAX


class Channel:
    """Sends frames to one worker and hands over the frames that come back.

    `on_frame` gets every complete frame; `on_end` is called once, after the last of them, when the
    worker has closed its end, with a reason if that was not all. Neither is called after `close`.
    """

    def __init__(
        self,
        connection: socket.socket,
        on_frame: Callable[[Frame], None],
        on_end: Callable[[str | None], None],
    ) -> None:
        """Take over `connection`; must be called on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._socket = connection
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SOCKET_BUFFER_BYTES)
        self._on_frame = on_frame
        self._on_end = on_end
        self._received = FrameBuffer()
        self._unsent: deque[memoryview] = deque()
        self._closed = False
        self._descriptor = connection.fileno()
        self._loop.add_reader(self._descriptor, self.receive)

    def send(self, header: Header, payload: Sequence[bytes] = ()) -> None:
        """Send one frame; bytes that the socket does not take now follow later.

        A broken connection is reported by `on_end`, after the worker's last frames.
        """
        if self._closed:
            return
        waiting = bool(self._unsent)
        self._unsent.append(memoryview(pack(header, sum(map(len, payload)))))
        self._unsent.extend(memoryview(part) for part in payload if part)
        if not waiting:
            self._flush()

    def receive(self) -> None:
        """Handle the bytes that have arrived; the loop calls it when there are some."""
        while not self._closed:
            try:
                chunk = self._socket.recv(_READ_BYTES)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                # A reset: it died with frames unread, and its exit has the reason.
                self._end(None)
                return
            try:
                for frame in self._received.feed(chunk):
                    if not self._closed:
                        self._on_frame(frame)
            except FrameError as error:
                self._end(f"sent {error}")
            if not chunk and not self._closed:
                self._end(None)

    def hang_up(self) -> None:
        """Send the end of the stream; the worker leaves when it has read everything."""
        if not self._closed:
            self._forget_unsent()
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close the socket; may be called more than once."""
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._descriptor)
            self._forget_unsent()
            self._socket.close()

    def _end(self, reason: str | None) -> None:
        if not self._closed:
            self.close()
            self._on_end(reason)

    def _flush(self) -> None:
        while self._unsent:
            try:
                sent = self._socket.sendmsg(list(itertools.islice(self._unsent, _BUFFERS_A_CALL)))
            except (BlockingIOError, InterruptedError):
                self._loop.add_writer(self._descriptor, self._flush)
                return
            except OSError:
                # The reader sees the end too, after the worker's last frames.
                with contextlib.suppress(OSError):
                    self._socket.shutdown(socket.SHUT_RDWR)
                break
            while sent:
                first = self._unsent[0]
                if sent < len(first):
                    self._unsent[0] = first[sent:]
                    break
                sent -= len(first)
                self._unsent.popleft()
        self._forget_unsent()

    def _forget_unsent(self) -> None:
        self._unsent.clear()
        self._loop.remove_writer(self._descriptor)
