"""grpc.health.v1 on the server of a process, and what it says of each service."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.rpc.arriving import Arriving
from pipeline.rpc.health import RpcHealth
from pipeline.rpc.leaving import RunningCalls
from pipeline.rpc.small_calls import Messages
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


async def test_watch_polls_nothing_and_schedules_no_timer(
    stub: Any, services: Services, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However much time passes: what wakes a watcher is the change itself."""
    watchings = [stub.Watch(Request(service=name), timeout=PATIENCE_S) for name in ("", "waste")]
    for watching in watchings:
        assert (await watching.read()).status == Reply.SERVING
    timers: list[object] = []
    loop = asyncio.get_running_loop()
    for name in ("call_later", "call_at"):
        monkeypatch.setattr(loop, name, lambda *args, **_options: timers.append(args))
    for ready, state in ((False, Reply.NOT_SERVING), (True, Reply.SERVING)):
        looks = engine.looks
        engine.ready = ready
        for watching in watchings:
            assert (await watching.read()).status == state
        assert engine.looks == looks + len(watchings)
    services.phase = "stopping"
    assert [(await watching.read()).status for watching in watchings] == [Reply.NOT_SERVING] * 2
    assert timers == []


async def test_watch_follows_the_engines_of_a_reload_and_keeps_no_old_one(
    stub: Any, services: Services, engine: Any
) -> None:
    watching = stub.Watch(Request(service="peach"), timeout=PATIENCE_S)
    assert (await watching.read()).status == Reply.SERVICE_UNKNOWN
    old, new = type(engine)(), type(engine)()
    services.replace({"peach": old}, max_images=4)
    assert (await watching.read()).status == Reply.SERVING
    services.replace({"peach": new}, max_images=4)
    gone = weakref.ref(old)
    del old
    gc.collect()
    assert gone() is None
    new.ready = False
    assert (await watching.read()).status == Reply.NOT_SERVING
    services.replace({}, max_images=4)
    assert (await watching.read()).status == Reply.SERVICE_UNKNOWN


async def test_an_engine_that_was_replaced_wakes_no_watcher(
    services: Services, engine: Any
) -> None:
    called: list[None] = []
    services.on_change(lambda: called.append(None))
    services.replace({"waste": type(engine)()}, max_images=4)
    assert len(called) == 1
    engine.ready = False
    assert len(called) == 1


async def test_a_watcher_that_does_not_read_has_one_message_waiting_and_then_the_last_state(
    services: Services, engine: Any
) -> None:
    class Unread:
        """A call whose messages do not leave until the test lets them."""

        def __init__(self) -> None:
            self.sent: list[int] = []
            self.began, self.may_go = asyncio.Event(), asyncio.Event()

        async def write(self, message: bytes) -> None:
            self.sent.append(Reply.FromString(message).status)
            self.began.set()
            await self.may_go.wait()

    context: Any = Unread()
    watcher = RpcHealth(services, RunningCalls(), Messages(Arriving(Inflight(100), 100)))
    watching = asyncio.create_task(watcher._send_changes("waste", context))
    await asyncio.wait_for(context.began.wait(), PATIENCE_S)
    for number in range(1001):
        engine.ready = number % 2 == 1
        await asyncio.sleep(0)
    assert context.sent == [Reply.SERVING]
    context.may_go.set()
    services.phase = "stopping"
    await asyncio.wait_for(watching, PATIENCE_S)
    assert context.sent == [Reply.SERVING, Reply.NOT_SERVING]


async def test_each_change_that_is_not_followed_at_once_is_reported_in_order(
    stub: Any, engine: Any
) -> None:
    watching = stub.Watch(Request(service="waste"), timeout=PATIENCE_S)
    got = [(await watching.read()).status]
    for number in range(20):
        engine.ready = number % 2 == 1
        got.append((await watching.read()).status)
    assert got == [Reply.SERVING, *[Reply.NOT_SERVING, Reply.SERVING] * 10]
