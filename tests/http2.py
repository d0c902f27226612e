"""A client of HTTP/2 that sends what gRPC's own would not: parts of messages, or far too many."""

from __future__ import annotations

import select
import socket
import struct
import time
from types import TracebackType

from tests.patience import PATIENCE_S

CHECK = "/grpc.health.v1.Health/Check"
WATCH = "/grpc.health.v1.Health/Watch"
INFERENCE = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
_DATA, _HEADERS, _RST, _SETTINGS, _PING, _WINDOW = 0, 1, 3, 4, 6, 8
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4  # the number of this setting
_FRAME = 16_384


def message(body: bytes, *, packed: bool = False, length: int | None = None) -> bytes:
    """Return a message of gRPC, or the beginning of one of `length` bytes."""
    return struct.pack(">BI", packed, len(body) if length is None else length) + body


class Http2Connection:
    """One connection, whose frames are read when `read` is called.

    Attributes:
        data: what came on each stream.
        ended: the streams that the server has ended.
        initial_window: the bytes that the server takes of a stream before it grants more.
    """

    def __init__(self, port: int) -> None:
        self.data: dict[int, bytes] = {}
        self.ended: set[int] = set()
        self.initial_window = 65_535
        self.is_closed = False
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._next = 1
        self._received = b""
        self._connection_window = 65_535
        self._windows: dict[int, int] = {}
        self._is_greeted = False
        self._socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(_SETTINGS, 0, 0))
        while not self._is_greeted:
            self.read(PATIENCE_S)

    def __enter__(self) -> Http2Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def begin(self, path: str, *metadata: tuple[str, str]) -> int:
        """Begin a call; return its stream."""
        return self.begin_many(1, path, *metadata)[0]

    def begin_many(
        self, count: int, path: str, *metadata: tuple[str, str], whole: bytes = b""
    ) -> list[int]:
        """Begin so many calls at once; return their streams. `whole` is all they send, if any."""
        streams = [self._next + 2 * number for number in range(count)]
        self._next += 2 * count
        self._windows.update(dict.fromkeys(streams, self.initial_window))
        fields = [
            *((":method", "POST"), (":scheme", "http"), (":path", path), (":authority", "x")),
            *(("content-type", "application/grpc"), ("te", "trailers"), *metadata),
        ]
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in fields)
        frames = [_frame(_HEADERS, _END_HEADERS, stream, block) for stream in streams]
        if whole:
            last = [_frame(_DATA, _END_STREAM, stream, whole) for stream in streams]
            frames = [part for pair in zip(frames, last, strict=True) for part in pair]
        self._socket.sendall(b"".join(frames))
        return streams

    def send(
        self,
        stream: int,
        data: bytes,
        *,
        end: bool = False,
        patience_s: float = 1.0,
        frame_size: int = _FRAME,
    ) -> int:
        """Send `data` as the server grants it, in frames; return how much was sent.

        Stops when nothing is granted for `patience_s`, or the stream has ended.
        """
        sent = 0
        last_s = time.monotonic()
        while sent < len(data) and not self.is_closed and stream not in self.ended:
            room = min(self._windows[stream], self._connection_window, _FRAME, len(data) - sent)
            if room <= 0:
                if time.monotonic() - last_s > patience_s:
                    break
                self.read(0.05)
                continue
            is_end = end and sent + room == len(data)
            starts = range(sent, sent + room, frame_size)
            pieces = [data[at : min(at + frame_size, sent + room)] for at in starts]
            frames = [_frame(_DATA, 0, stream, piece) for piece in pieces[:-1]]
            frames.append(_frame(_DATA, _END_STREAM if is_end else 0, stream, pieces[-1]))
            self._socket.sendall(b"".join(frames))
            sent += room
            self._windows[stream] -= room
            self._connection_window -= room
            last_s = time.monotonic()
            self.read(0)
        return sent

    def read(self, timeout_s: float) -> None:
        """Read what has come, waiting at most `timeout_s` for the first of it."""
        while not self.is_closed and select.select([self._socket], [], [], timeout_s)[0]:
            timeout_s = 0
            try:
                received = self._socket.recv(65_536)
            except ConnectionResetError:
                received = b""
            self.is_closed = not received
            self._received += received
            while (frame := self._next_frame()) is not None:
                self._handle(*frame)

    def read_reply(self, stream: int) -> bytes:
        """Return the message of the reply; b"" if there is none."""
        ends = time.monotonic() + PATIENCE_S
        while stream not in self.ended and not self.is_closed and time.monotonic() < ends:
            self.read(1)
        return self.data.get(stream, b"")[5:]

    def _next_frame(self) -> tuple[int, int, int, bytes] | None:
        if len(self._received) < 9:
            return None
        size = 9 + int.from_bytes(self._received[:3], "big")
        if len(self._received) < size:
            return None
        frame, self._received = self._received[:size], self._received[size:]
        return frame[3], frame[4], int.from_bytes(frame[5:9], "big"), frame[9:]

    def _handle(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind == _SETTINGS and not flags & _ACK:
            for number, value in struct.iter_unpack(">HI", payload):
                if number == _INITIAL_WINDOW:
                    self.initial_window = value
            self._socket.sendall(_frame(_SETTINGS, _ACK, 0))
            self._is_greeted = True
        elif kind == _PING and not flags & _ACK:
            self._socket.sendall(_frame(_PING, _ACK, 0, payload))
        elif kind == _WINDOW and stream:
            self._windows[stream] += int.from_bytes(payload, "big")
        elif kind == _WINDOW:
            self._connection_window += int.from_bytes(payload, "big")
        elif kind == _DATA:
            self.data[stream] = self.data.get(stream, b"") + payload
        if kind == _RST or (kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            self.ended.add(stream)


def _frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes((kind, flags))
    return head + struct.pack(">I", stream) + payload


def _text(text: str) -> bytes:
    """Return a text of HPACK that is not packed, of 126 bytes at most."""
    encoded = text.encode()
    assert len(encoded) < 127
    return bytes((len(encoded),)) + encoded
