from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc.key_value import build_rpc_server
from pipeline.web.app import build_http_app
from protocol import pipeline_service_pb2_grpc as pb_grpc
from protocol.errors import Overloaded
from protocol.request import ClassifyRequest, request_to_proto

JPEG = {"Content-Type": "image/jpeg"}
LARGE = b"x" * 600


def test_a_share_is_given_back_when_it_ends() -> None:
    budget = Inflight(1000)
    with budget.holding() as held:
        held.add(400)
        held.add(600)
        with budget.holding() as other, pytest.raises(Overloaded, match="try again"):
            other.add(1)
        assert budget.bytes_ == 1000
    assert budget.bytes_ == 0


@contextlib.contextmanager
def holding(budget: Inflight, service: str, count: int) -> Iterator[None]:
    with budget.holding() as held:
        held.by(service)
        held.add(count)
        yield


def test_no_service_takes_what_is_set_aside_for_another() -> None:
    budget = Inflight(1000, services=lambda: 2)
    with holding(budget, "alpha", 250), holding(budget, "alpha", 500):
        with pytest.raises(Overloaded, match="try again"), holding(budget, "alpha", 1):
            pass
        for _ in range(2):  # it is given back
            with holding(budget, "beta", 250):
                assert budget.bytes_ == 1000
        with pytest.raises(Overloaded), holding(budget, "beta", 251):
            pass
    assert budget.bytes_ == 0
    with holding(budget, "beta", 750):
        pass


def test_a_service_alone_has_the_whole_budget() -> None:
    count = 2
    budget = Inflight(1000, services=lambda: count)
    with pytest.raises(Overloaded), holding(budget, "alpha", 1000):
        pass
    count = 1  # a reload took the other away
    with holding(budget, "alpha", 1000):
        assert budget.bytes_ == 1000


def test_the_largest_body_has_room_however_many_services_there_are() -> None:
    for limit in (1000, 1500, 4000):
        with holding(Inflight(limit, largest=1000, services=lambda: 50), "alpha", 1000):
            pass


def test_a_share_of_a_request_that_failed_is_given_back() -> None:
    budget = Inflight(1000)
    with pytest.raises(ZeroDivisionError):
        _fail(budget)
    assert budget.bytes_ == 0


def _fail(budget: Inflight) -> None:
    with budget.holding() as held:
        held.add(10)
        raise ZeroDivisionError


async def test_a_burst_at_one_service_leaves_room_for_the_other(
    observer: Observer, engine: Any
) -> None:
    services = Services({"waste": engine, "peach": engine}, max_images=4)
    services.phase = "ready"
    budget = Inflight(1600, services=lambda: len(services.names))
    app = build_http_app(services, observer, max_body_bytes=5000, inflight=budget)
    server = build_rpc_server(services, observer, max_body_bytes=5000, inflight=budget)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    small = request_to_proto(ClassifyRequest((b"y" * 200,), "peach"))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        rpc = pb_grpc.PipelineServiceStub(channel)
        engine.release = asyncio.Event()
        burst = [
            asyncio.create_task(http.post("/waste/prediction", content=LARGE, headers=JPEG))
            for _ in range(10)
        ]
        while sum(task.done() for task in burst) < 8:  # all but those that found room
            await asyncio.sleep(0.01)
        engine.release, waiting = None, engine.release
        assert (await rpc.inference(small)).err_no == 0
        answer = await http.post("/peach/prediction", content=b"y" * 300, headers=JPEG)
        assert answer.status_code == 200
        assert (
            await rpc.inference(request_to_proto(ClassifyRequest((LARGE,), "waste")))
        ).err_no == 3004
        waiting.set()
        statuses = sorted([(await task).status_code for task in burst])
        assert statuses == [200, 200, *[429] * 8]
        assert budget.bytes_ == 0
    await server.stop(0)


async def test_both_wires_share_one_budget(
    services: Services, observer: Observer, engine: Any
) -> None:
    """What waits for the model is in memory, and it is bounded: a queue of large bodies is not."""
    budget = Inflight(1000)
    app = build_http_app(services, observer, max_body_bytes=5000, inflight=budget)
    server = build_rpc_server(services, observer, max_body_bytes=5000, inflight=budget)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    message = request_to_proto(ClassifyRequest((LARGE,), "waste"))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        rpc = pb_grpc.PipelineServiceStub(channel)
        engine.delay_s = 0.5
        for first, second in (("http", "rpc"), ("rpc", "http")):
            asked = len(engine.asked)
            if first == "http":
                waiting: Any = http.post("/waste/prediction", content=LARGE, headers=JPEG)
            else:
                waiting = rpc.inference(message)
            running = asyncio.ensure_future(waiting)
            while len(engine.asked) == asked:
                await asyncio.sleep(0.01)
            if second == "rpc":
                assert (await rpc.inference(message)).err_no == 3004
            else:
                refused = await http.post("/waste/prediction", content=LARGE, headers=JPEG)
                assert (refused.status_code, refused.json()["err_no"]) == (429, 3004)
            assert len(engine.asked) == asked + 1
            answer = await running
            assert (answer.err_no if first == "rpc" else answer.json()["err_no"]) == 0
            assert budget.bytes_ == 0
    await server.stop(0)
