"""One unary call of gRPC, as the desk takes it.

On the wire the method is unary; here it is a stream of one message, so that what must hold before
anything is read can be checked before, and waiting for the message has an end.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio

from protocol.codec import Codec
from protocol.errors import DeadlineExceeded, InvalidRequest, TooLarge

from ..admission.call import CallerLeft
from ..admission.content_encoding import unpacked
from ..admission.deadline import Deadline
from ..admission.desk import Desk, Reply
from ..admission.offload import Lane
from .arriving import Arriving
from .packing import packed_as

# gRPC's default; a message takes no longer on any line that is fit for images.
READ_TIMEOUT_S = 30.0
# gRPC reports an oversized message as end of stream, then cancels the call. A caller that leaves in
# the middle of its message looks the same.
_END_PATIENCE_S = 0.25


async def reply_to(
    desk: Desk,
    codec: Codec,
    context: grpc.aio.ServicerContext[Any, Any],
    max_message_bytes: int,
    arriving: Arriving,
) -> Reply:
    """Return the desk's reply to the call of `context`, whose message is counted in `arriving`.

    Raises:
        CancelledError: the caller does not wait for it any more.
    """
    try:
        return await desk.answer(RpcCall(context, max_message_bytes, arriving), codec)
    except CallerLeft:
        raise asyncio.CancelledError from None


class RpcCall:
    """A call whose message is at most `max_message_bytes`, which gRPC sees to; see `Call`."""

    wire = "rpc"
    # A page cannot speak gRPC. Proxies for gRPC-Web check origins themselves, and pass them on.
    from_browsers = False
    service = None
    content_type = ""

    def __init__(
        self,
        context: grpc.aio.ServicerContext[Any, Any],
        max_message_bytes: int,
        arriving: Arriving,
    ) -> None:
        self.client = _address(context.peer())
        self.began = time.monotonic()
        self.headers: Mapping[str, str] = headers_of(context)
        self.options: Mapping[str, str] = {}
        self._context = context
        self._limit = max_message_bytes
        self._arriving = arriving

    def deadline(self) -> Deadline:
        """Return the deadline of the call: gRPC counts it from the headers on."""
        return Deadline(self._context.time_remaining())

    async def receive(self, _deadline: Deadline, lane: Lane) -> bytes:
        """Return the message; gRPC itself ends the call at its deadline.

        Read from the context: gRPC's iterator would keep it until the garbage collector runs.

        Raises:
            DeadlineExceeded: it does not come within `READ_TIMEOUT_S`.
            InvalidRequest: there is none.
            Overloaded: as `Call.receive`, or while it arrives.
            CallerLeft: it is over the limit, and gRPC has ended the call with that error.
        """
        # `wait_for` would swallow the end of a call that comes together with that of its messages.
        reading = asyncio.ensure_future(self._context.read())
        try:
            with self._arriving.reading(self._context.peer(), reading):
                await asyncio.wait((reading,), timeout=READ_TIMEOUT_S)
            if reading.cancelled():
                raise self._arriving.overloaded()
            if reading.done() and reading.result() is grpc.aio.EOF:
                await asyncio.sleep(_END_PATIENCE_S)
                raise InvalidRequest("the call has no message")
        except asyncio.CancelledError:
            ended = reading.done() and not reading.cancelled() and reading.result() is grpc.aio.EOF
            if not ended or self._context.time_remaining() == 0:
                raise
            limit = f"{self._limit / 2**20:g} MiB"
            raise CallerLeft(TooLarge(f"the message is over the limit of {limit}")) from None
        finally:
            reading.cancel()
        if not reading.done():
            raise DeadlineExceeded(f"the message did not come within {READ_TIMEOUT_S:g} s")
        message = bytes(reading.result())
        lane.reservation.add(len(message))
        self._arriving.finished(self._context.peer(), len(message))
        packed = packed_as(message)
        return await unpacked(message, packed, self._limit, lane) if packed else message

    def departure(self) -> None:
        """Return None: gRPC cancels the task of a call that its caller leaves."""


def headers_of(context: grpc.aio.ServicerContext[Any, Any]) -> dict[str, str]:
    """Return the metadata of a call as text."""
    return {name: _text(value) for name, value in context.invocation_metadata() or ()}


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _address(peer: str) -> str:
    """Return the address in gRPC's "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000"."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return unquote(rest).rpartition(":")[0].strip("[]")
