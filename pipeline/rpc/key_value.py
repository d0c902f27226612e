"""RPC: PipelineService.inference of Paddle Serving 0.9; errors stand in the Response's err_no.

On the wire the method is unary; here it is a stream of one message, so that what must hold before
anything is read can be checked before, and waiting for the message has an end:

    metadata -> key known? -> message within 30 s -> few parts? -> service? -> room for it?
             -> request -> answer
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import unquote

import grpc
import grpc.aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from protocol.errors import DeadlineExceeded, InvalidRequest, ServingError, TooLarge
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.reply import error_to_proto, reply_to_proto
from protocol.key_value.request import request_from_message
from protocol.key_value.sizes import service_in
from protocol.reply import ClassifyReply

from ..admission.inflight import Inflight
from ..admission.key_ring import KeyRing
from ..admission.offload import parsed
from ..admission.services import Services, written
from ..observation.observer import Observer
from .health import RpcHealthServicer

logger = logging.getLogger(__name__)


# gRPC's default; a message takes no longer on any line that is fit for pictures.
READ_TIMEOUT_S = 30.0
# A message over the limit looks like none at first; that gRPC has ended the call comes right after.
# So does a caller that leaves in the middle of its message; gRPC does not tell them apart.
_END_PATIENCE_S = 0.25


class RpcServicer:
    """Translates Request and Response; a deadline of the caller is kept, a cancelled call too."""

    def __init__(
        self,
        services: Services,
        observer: Observer,
        keys: KeyRing,
        inflight: Inflight,
        max_message_bytes: int,
    ) -> None:
        self._services = services
        self._observer = observer
        self._keys = keys
        self._inflight = inflight
        self._max_message_bytes = max_message_bytes

    async def inference(
        self, _messages: object, context: grpc.aio.ServicerContext[Any, Any]
    ) -> bytes:
        """Answer one request; never raises for what is wrong with it."""
        metadata = {name: _text(value) for name, value in context.invocation_metadata() or ()}
        client = _address(context.peer())
        with (
            self._observer.request("rpc", client, metadata.get("traceparent")) as seen,
            self._inflight.reservation() as reserved,
        ):
            try:
                caller = self._keys.admit(metadata.get("authorization"), metadata.get("x-api-key"))
                message = await _only(context, self._max_message_bytes)
                service = self._services.require(service_in(message))
                seen.found(service)
                reserved.add(len(message))
                asked = await parsed(len(message), request_from_message, message)
                del message  # the pictures are enough
                seen.asked(asked)
                self._keys.spend(caller, len(asked.images))
                reply = await self._services.classify(asked, context.time_remaining())
                return written(reply, _reply_to_bytes)
            except _GoneTooLarge as error:
                # The client has been told so in gRPC's own way.
                seen.failed(TooLarge(str(error)))
                raise asyncio.CancelledError from None
            except ServingError as error:
                seen.failed(error)
                return error_to_proto(error).SerializeToString()
            except Exception as error:
                logger.error("inference failed", exc_info=error)
                seen.failed(error)
                return error_to_proto(error).SerializeToString()


class _GoneTooLarge(Exception):
    """gRPC has ended the call: its message is over the limit."""


def _reply_to_bytes(reply: ClassifyReply) -> bytes:
    return reply_to_proto(reply).SerializeToString()


async def _only(context: grpc.aio.ServicerContext[Any, Any], limit: int) -> bytes:
    """Return the message of a unary call.

    Read from the context: gRPC's iterator would keep it until the collector comes round.

    Raises:
        DeadlineExceeded: it does not come.
        InvalidRequest: there is none.
        _GoneTooLarge: it is over `limit` bytes.
    """
    # `wait_for` would swallow the end of a call that comes together with that of its messages.
    reading = asyncio.ensure_future(context.read())
    try:
        await asyncio.wait((reading,), timeout=READ_TIMEOUT_S)
        if reading.done() and reading.result() is grpc.aio.EOF:
            await asyncio.sleep(_END_PATIENCE_S)
            raise InvalidRequest("the call has no message")
    except asyncio.CancelledError:
        ended = reading.done() and not reading.cancelled() and reading.result() is grpc.aio.EOF
        if not ended or context.time_remaining() == 0:
            raise
        raise _GoneTooLarge(f"the message is over the limit of {limit / 2**20:g} MiB") from None
    finally:
        reading.cancel()
    if not reading.done():
        raise DeadlineExceeded(f"the message did not come within {READ_TIMEOUT_S:g} s")
    return bytes(reading.result())


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _address(peer: str) -> str:
    """Return the address in gRPC's "ipv4:127.0.0.1:5000" or "ipv6:%5B::1%5D:5000"."""
    kind, _, rest = peer.partition(":")
    if kind not in ("ipv4", "ipv6"):
        return peer
    return unquote(rest).rpartition(":")[0].strip("[]")


def build_rpc_server(
    services: Services,
    observer: Observer,
    *,
    max_body_bytes: int,
    inflight: Inflight | None = None,
    keys: KeyRing | None = None,
    max_connections: int = 1024,
    longest_s: float = 60.0,
) -> grpc.aio.Server:
    """Return a server without a port, for those who have one of `keys`.

    Messages over `max_body_bytes` end in RESOURCE_EXHAUSTED; those that find no room in `inflight`
    are refused. One connection too many is closed at once, and each after some minutes, when what
    is under way on it has had `longest_s` seconds to end: no stream holds its place for ever.
    """
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", max_body_bytes),
            ("grpc.max_send_message_length", -1),
            # Two services on one port would share its requests by chance; refuse instead.
            ("grpc.so_reuseport", 0),
            # Clients that have gone without a word, and those that only hold a connection.
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            # Places are few: who holds one and asks nothing keeps new callers out. No round number,
            # as who asks by the clock would meet the end of its connection again and again.
            ("grpc.max_connection_idle_ms", 27_000),
            ("grpc.max_connection_age_ms", 600_000),
            ("grpc.max_connection_age_grace_ms", int(1000 * longest_s)),
            ("grpc.server_handshake_timeout_ms", 20_000),
            ("grpc.max_allowed_incoming_connections", max_connections),
            ("grpc.max_concurrent_streams", 256),
        ]
    )
    budget = inflight or Inflight(max_body_bytes)
    servicer = RpcServicer(services, observer, keys or KeyRing(), budget, max_body_bytes)
    service = pb.DESCRIPTOR.services_by_name["PipelineService"]
    inference: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(
        servicer.inference,
        request_deserializer=None,  # it is looked at as bytes first
        response_serializer=None,  # and written where it is observed
    )
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler(service.full_name, {"inference": inference}),)
    )
    health_pb2_grpc.add_HealthServicer_to_server(RpcHealthServicer(services), server)
    names = (service.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection.enable_server_reflection(names, server)
    return server
