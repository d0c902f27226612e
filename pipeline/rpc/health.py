"""grpc.health.v1, which Kubernetes' gRPC probes and load balancers call.

The service "" is the whole process; each configured service has its own state under its name.
Protocol: https://github.com/grpc/grpc/blob/master/doc/health-checking.md
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from ..admission.services import Services
from .leaving import RunningCalls

_POLL_S = 0.25
_Response = health_pb2.HealthCheckResponse
_SERVING, _NOT_SERVING, _UNKNOWN = map(
    _Response.ServingStatus.Value, ("SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
)


class RpcHealthServicer(health_pb2_grpc.HealthServicer):
    """Reports the services' state as it is now; keeps none of its own.

    Its calls are counted in `calls`, so that a watcher gets the last state before a stop.
    """

    def __init__(self, services: Services, calls: RunningCalls) -> None:
        self._services = services
        self._calls = calls

    async def Check(  # noqa: N802 - the protocol's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> health_pb2.HealthCheckResponse:
        """Return whether the service is up; NOT_FOUND for one that does not exist."""
        self._calls.add(context)
        state = self._state(request.service)
        if state == _UNKNOWN:
            names = ", ".join(self._services.names)
            await context.abort(grpc.StatusCode.NOT_FOUND, f"there is no such service; {names}")
        return _Response(status=state)

    async def Watch(  # noqa: N802 - the protocol's name
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[Any, Any],
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Yield the state, and every change of it, until the caller leaves or the service stops."""
        self._calls.add(context)
        last: object = None
        while True:
            # Before the state: a stop that begins while it is sent must be reported too.
            is_last = self._services.phase == "stopping"
            state = self._state(request.service)
            if state != last:
                last = state
                yield _Response(status=state)
            if is_last:
                return
            await asyncio.sleep(_POLL_S)

    def _state(self, name: str) -> Any:  # noqa: ANN401 - the stubs have no type for it
        if not name:
            good = self._services.ready
        elif name in self._services.names:
            good = self._services.state(name) == "ready"
        else:
            return _UNKNOWN
        return _SERVING if good else _NOT_SERVING
