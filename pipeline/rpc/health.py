"""grpc.health.v1, which Kubernetes' gRPC probes and load balancers call.

The service "" is the whole process; each configured service has its own state under its name.
Protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from ..admission.services import Services
from .leaving import RunningCalls
from .small_calls import Calls, Messages, PlacesTaken

SERVICE_NAME: str = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
# A client checks once in seconds, and watches once on each of its connections.
CHECKS, CHECKS_PER_CONNECTION = 256, 16
WATCHES, WATCHES_PER_CONNECTION = 1024, 4
_Response = health_pb2.HealthCheckResponse
_SERVING, _NOT_SERVING, _UNKNOWN = map(
    _Response.ServingStatus.Value, ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
)
_Context = grpc.aio.ServicerContext[Any, Any]


class RpcHealth:
    """Reports the services' state as it is now.

    Its calls are counted in `calls`, so that a watcher gets the last state before a stop.
    """

    def __init__(self, services: Services, calls: RunningCalls, messages: Messages) -> None:
        self._services = services
        self._calls = calls
        self._messages = messages
        self._checks = Calls("Check", CHECKS, CHECKS_PER_CONNECTION)
        self._watches = Calls("Watch", WATCHES, WATCHES_PER_CONNECTION)
        self._change = _NextChange(services)

    def handler(self) -> grpc.GenericRpcHandler:
        """Return the handler of both methods.

        Streams of bytes on both, which is the same on the wire: messages are read and limited here.
        """
        check: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_unary_rpc_method_handler(
            self._check, request_deserializer=None, response_serializer=None
        )
        watch: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(
            self._watch, request_deserializer=None, response_serializer=None
        )
        methods = {"Check": check, "Watch": watch}
        return grpc.method_handlers_generic_handler(SERVICE_NAME, methods)

    async def _check(self, _messages: object, context: _Context) -> bytes:
        """Return whether the service is up; NOT_FOUND for one that does not exist."""
        self._calls.add(context)
        try:
            with self._checks.place(context):
                state = self._state(await self._service_of(context))
        except PlacesTaken as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))
        if state == _UNKNOWN:
            names = ", ".join(self._services.names)
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no such service; {names}")
        return _Response(status=state).SerializeToString()

    async def _watch(self, _messages: object, context: _Context) -> None:
        """Send the state, and every change of it, until the caller leaves or the service stops."""
        self._calls.add(context)
        try:
            with self._watches.place(context):
                await self._send_changes(await self._service_of(context), context)
        except PlacesTaken as error:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, str(error))

    async def _send_changes(self, service: str, context: _Context) -> None:
        last: object = None
        while True:
            # Before the state: what changes while it is sent must be reported too.
            change = self._change.event
            is_last = self._services.phase == "stopping"
            state = self._state(service)
            if state != last:
                last = state
                await context.write(_Response(status=state).SerializeToString())
            if is_last:
                return
            await change.wait()

    async def _service_of(self, context: _Context) -> str:
        message = await self._messages.next_of(context)
        try:
            service: str = health_pb2.HealthCheckRequest.FromString(message or b"").service
        except DecodeError:
            text = "the message is no HealthCheckRequest"
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, text)
        return service

    def _state(self, name: str) -> Any:  # noqa: ANN401 - the stubs have no type for it
        if not name:
            good = self._services.ready
        elif name in self._services.names:
            good = self._services.state(name) == "ready"
        else:
            return _UNKNOWN
        return _SERVING if good else _NOT_SERVING


class _NextChange:
    """What watchers wait for.

    Attributes:
        event: is set at the next change of a state; several at once set it once.
    """

    def __init__(self, services: Services) -> None:
        self.event = asyncio.Event()
        services.on_change(self._happened)

    def _happened(self) -> None:
        event, self.event = self.event, asyncio.Event()
        event.set()
