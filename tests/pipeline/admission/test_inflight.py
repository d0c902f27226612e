from __future__ import annotations

import asyncio
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc.server import build_rpc_server
from pipeline.web.app import build_http_app
from protocol.errors import Overloaded
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.key_value.request import request_to_proto
from protocol.request import ClassifyRequest, encoded

JPEG = {"Content-Type": "image/jpeg"}
LARGE = b"x" * 600


def test_reserved_bytes_are_free_again_when_the_request_ends() -> None:
    budget = Inflight(1000)
    with budget.reservation() as reserved:
        reserved.add(400)
        reserved.add(600)
        with budget.reservation() as other, pytest.raises(Overloaded, match="try again"):
            other.add(1)
        assert budget.reserved == 1000
    assert budget.reserved == 0


def test_reserved_bytes_of_a_failed_request_are_free_again() -> None:
    budget = Inflight(1000)
    with pytest.raises(ZeroDivisionError):
        _fail(budget)
    assert budget.reserved == 0


def _fail(budget: Inflight) -> None:
    with budget.reservation() as reserved:
        reserved.add(10)
        raise ZeroDivisionError


async def test_both_wires_share_one_budget(
    services: Services, observer: Observer, engine: Any
) -> None:
    """What waits for the model is in memory, and it is bounded: a queue of large bodies is not."""
    budget = Inflight(1000)
    app = build_http_app(Desk(services, observer, budget), max_body_bytes=5000)
    server = build_rpc_server(Desk(services, observer, budget), max_body_bytes=5000)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    message = request_to_proto(ClassifyRequest(encoded([LARGE]), "waste"))
    async with (
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as http,
        grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel,
    ):
        rpc = pb_grpc.PipelineServiceStub(channel)
        engine.delay_s = 0.5
        for first, second in (("http", "rpc"), ("rpc", "http")):
            before = len(engine.requests)
            if first == "http":
                waiting: Any = http.post("/waste/prediction", content=LARGE, headers=JPEG)
            else:
                waiting = rpc.inference(message)
            running = asyncio.ensure_future(waiting)
            while len(engine.requests) == before:
                await asyncio.sleep(0.01)
            if second == "rpc":
                assert (await rpc.inference(message)).err_no == 3004
            else:
                refused = await http.post("/waste/prediction", content=LARGE, headers=JPEG)
                assert (refused.status_code, refused.json()["err_no"]) == (429, 3004)
            assert len(engine.requests) == before + 1
            answer = await running
            assert (answer.err_no if first == "rpc" else answer.json()["err_no"]) == 0
            assert budget.reserved == 0
    await server.stop(0)
