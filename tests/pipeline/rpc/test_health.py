"""grpc.health.v1 on the server of a process, and what it says of each service."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pipeline.admission.services import Services
from tests.patience import PATIENCE_S

Reply = health_pb2.HealthCheckResponse
Request = health_pb2.HealthCheckRequest


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


@pytest.mark.parametrize("name", ["", "waste"])
async def test_check_follows_the_state_of_the_service(
    stub: Any, services: Services, engine: Any, name: str
) -> None:
    assert (await stub.Check(Request(service=name))).status == Reply.SERVING
    engine.ready = False
    assert (await stub.Check(Request(service=name))).status == Reply.NOT_SERVING
    engine.ready, services.phase = True, "stopping"
    assert (await stub.Check(Request(service=name))).status == Reply.NOT_SERVING


async def test_check_of_a_service_that_does_not_exist_lists_those_that_do(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError, match="waste") as refused:
        await stub.Check(Request(service="peach"))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND


async def test_watch_sends_each_change_and_ends_with_the_service(
    stub: Any, services: Services, engine: Any
) -> None:
    watching = stub.Watch(Request(service="waste"), timeout=PATIENCE_S)
    assert (await watching.read()).status == Reply.SERVING
    engine.ready = False
    assert (await watching.read()).status == Reply.NOT_SERVING
    unknown = stub.Watch(Request(service="peach"), timeout=PATIENCE_S)
    assert (await unknown.read()).status == Reply.SERVICE_UNKNOWN
    services.phase = "stopping"
    ends = await asyncio.gather(watching.read(), unknown.read())
    assert ends == [grpc.aio.EOF, grpc.aio.EOF]
