"""Connections to a service: HTTP/1.1 written by hand, and gRPC.

By hand, because a request shall be slow, cut off or wrong in ways that no client library allows.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

import grpc
import grpc.aio

from protocol.errors import DeadlineExceeded, ServingError
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.received import reply_from_json, reply_from_message
from protocol.reply import ClassifyReply

HOST = "127.0.0.1"
METHOD = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
# A pool of its own for each channel: otherwise gRPC sends all of them over one connection. A proxy
# of the environment must not come between.
LOCAL_CHANNEL = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))
T = TypeVar("T")


class NoReplyError(Exception):
    """There was no reply: the connection broke, or the time was over; the text says which."""


class BrokenError(NoReplyError):
    """The connection broke or was closed."""


@dataclass(frozen=True, slots=True)
class HttpMessage:
    """A request as it is sent."""

    path: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()
    method: str = "POST"

    def encoded(self) -> bytes:
        """Return head and body."""
        lines = [f"{self.method} {self.path} HTTP/1.1", "Host: soak"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        lines += [f"Content-Length: {len(self.body)}", "", ""]
        return "\r\n".join(lines).encode() + self.body


class HttpConnection:
    """A connection that stays open between requests; it is opened again when it was closed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(
        self, message: HttpMessage, timeout_s: float, pause_s: float = 0.0
    ) -> tuple[int, bytes]:
        """Send a request, in eight pieces with pauses if `pause_s`; return status and body.

        Raises:
            NoReplyError: no reply within `timeout_s`, or the connection broke.
        """
        return await self._within(timeout_s, self._exchange(message, pause_s))

    async def send(self, content: bytes, timeout_s: float) -> None:
        """Send bytes, perhaps of several requests, and do not wait for a reply; see `receive`.

        Raises:
            NoReplyError: the connection could not be opened.
        """
        _, writer = await self._within(timeout_s, self._open())
        writer.write(content)

    async def receive(self, timeout_s: float) -> tuple[int, bytes]:
        """Return status and body of the next reply.

        Raises:
            BrokenError: the connection is closed.
            NoReplyError: no reply within `timeout_s`.
        """
        return await self._within(timeout_s, self._receive())

    async def abandon(
        self, message: HttpMessage, sent: float, read: int = 0, after_s: float = 0.0
    ) -> None:
        """Send the given share of a request, read some bytes of the reply, wait, and hang up."""
        content = message.encoded()
        with contextlib.suppress(OSError, asyncio.TimeoutError):
            reader, writer = await self._open()
            writer.write(content[: int(len(content) * sent)])
            await asyncio.wait_for(writer.drain(), 5)
            if read:
                await asyncio.wait_for(reader.read(read), 5)
            await asyncio.sleep(after_s)
        await self.close()

    async def close(self) -> None:
        """Close the connection, if there is one."""
        streams, self._streams = self._streams, None
        if streams is not None:
            streams[1].close()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()

    async def _within(self, timeout_s: float, work: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(work, timeout_s)
        except asyncio.TimeoutError:
            await self.close()
            raise NoReplyError(f"no reply within {timeout_s:g} s") from None
        except (OSError, EOFError, ValueError, LookupError) as error:
            await self.close()
            raise BrokenError(f"the connection broke: {error or type(error).__name__}") from error

    async def _exchange(self, message: HttpMessage, pause_s: float) -> tuple[int, bytes]:
        _, writer = await self._open()
        content = message.encoded()
        if not pause_s:
            writer.write(content)
        else:
            step = len(content) // 8 + 1
            for start in range(0, len(content), step):
                writer.write(content[start : start + step])
                await writer.drain()
                await asyncio.sleep(pause_s)
        return await self._receive()

    async def _receive(self) -> tuple[int, bytes]:
        if self._streams is None:
            raise EOFError("it is closed")
        reader, _ = self._streams
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        fields = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        if fields.get("connection") == "close":
            await self.close()
        return int(head.split()[1]), body

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(HOST, self._port, limit=2**20)
        return self._streams


def read_http(body: bytes) -> ClassifyReply | ServingError:
    """Return the reply, or the error, that a body holds."""
    try:
        return reply_from_json(body)
    except ServingError as error:
        return error


class RpcConnection:
    """A gRPC channel with a connection of its own."""

    def __init__(self, port: int) -> None:
        self._channel = grpc.aio.insecure_channel(f"{HOST}:{port}", options=LOCAL_CHANNEL)
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            METHOD
        )

    async def exchange(
        self, message: pb.Request, timeout_s: float, *, own_deadline: bool
    ) -> ClassifyReply | ServingError:
        """Return the reply or its error; at `own_deadline` gRPC itself reports DeadlineExceeded.

        Raises:
            NoReplyError: gRPC failed, or the service took longer than it may.
        """
        try:
            body = await self._call(message.SerializeToString(), timeout=timeout_s)
            return reply_from_message(body)
        except ServingError as error:
            return error
        except grpc.aio.AioRpcError as error:
            if own_deadline and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                return DeadlineExceeded("the caller's own deadline")
            raise NoReplyError(f"gRPC {error.code().name}: {error.details()}") from error

    async def abandon(self, message: pb.Request, after_s: float) -> None:
        """Send a request and cancel it."""
        call = self._call(message.SerializeToString(), timeout=10)
        await asyncio.sleep(after_s)
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError, grpc.aio.AioRpcError):
            await call

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()
