from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest

from pipeline.hosts.rpc_servicer import build_rpc_server
from pipeline.hosts.services import Services
from protocol import pipeline_service_pb2 as pb
from protocol import pipeline_service_pb2_grpc as pb_grpc
from protocol.errors import Overloaded

PICTURE = base64.b64encode(b"cat").decode()


@pytest.fixture
async def stub(services: Services) -> AsyncIterator[Any]:
    server = build_rpc_server(services, max_body_bytes=2000)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield pb_grpc.PipelineServiceStub(channel)
    await server.stop(0)


async def test_a_request_is_answered(stub: Any, engine: Any) -> None:
    request = pb.Request(key=["image"], value=[PICTURE], name="waste", method="prediction", logid=4)
    response = await stub.inference(request)
    assert (response.err_no, response.err_msg) == (0, "")
    answers = dict(zip(response.key, response.value, strict=True))
    assert json.loads(answers["label"]) == ["cat"]
    assert engine.asked[0]["log_id"] == 4


async def test_an_empty_name_means_the_only_service(stub: Any) -> None:
    assert (await stub.inference(pb.Request(key=["image"], value=[PICTURE]))).err_no == 0


@pytest.mark.parametrize(
    ("request_", "err_no"),
    [
        (pb.Request(name="peach", key=["image"], value=[PICTURE]), 3002),
        (pb.Request(name="waste"), 5000),
        (pb.Request(name="waste", key=["image"], value=["?"]), 5000),
        (pb.Request(name="waste", key=["image", "topk"], value=[PICTURE, "0"]), 5000),
        (pb.Request(name="waste", key=["image"], value=["YmFk"]), 5001),
    ],
)
async def test_errors_stand_in_the_response(stub: Any, request_: pb.Request, err_no: int) -> None:
    response = await stub.inference(request_)
    assert response.err_no == err_no
    assert response.err_msg


async def test_overload_and_the_unforeseen(
    stub: Any, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    request = pb.Request(name="waste", key=["image"], value=[PICTURE])
    engine.error = Overloaded("full")
    assert (await stub.inference(request)).err_no == 3004
    engine.error = KeyError("secret")
    response = await stub.inference(request)
    assert response.err_no == 10000
    assert "secret" not in response.err_msg
    assert "secret" in caplog.text


async def test_a_message_over_the_limit_ends_in_a_transport_status(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.inference(pb.Request(name="waste", key=["image"], value=["A" * 4000]))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await stub.inference(pb.Request(key=["image"], value=[PICTURE]))).err_no == 0


async def test_the_deadline_of_the_caller_is_handed_on(stub: Any, engine: Any) -> None:
    await stub.inference(pb.Request(key=["image"], value=[PICTURE]), timeout=5)
    assert 0 < engine.asked[0]["timeout_s"] < 6


async def test_a_caller_that_goes_away_cancels_its_request(stub: Any, engine: Any) -> None:
    engine.delay_s = 30
    call = stub.inference(pb.Request(key=["image"], value=[PICTURE]))
    while not engine.asked:
        await asyncio.sleep(0.01)
    call.cancel()
    while not engine.cancelled:
        await asyncio.sleep(0.01)
