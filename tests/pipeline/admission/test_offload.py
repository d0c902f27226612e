"""Large bodies are parsed beside the event loop, and a cancelled call waits for the thread."""

from __future__ import annotations

import asyncio
import base64
import threading
from typing import Any

import grpc.aio
import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.offload import LARGE_BYTES, parsed
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc.server import build_rpc_server
from pipeline.web.app import build_http_app
from protocol.bodies import RawCodec, UploadCodec
from protocol.errors import InvalidRequest
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.key_value.codec import JsonCodec, ProtoCodec
from tests.patience import PATIENCE_S

LARGE = base64.b64encode(b"x" * LARGE_BYTES).decode()


async def test_a_small_body_is_parsed_on_the_loop_and_a_large_one_in_the_thread() -> None:
    here = threading.get_ident()
    assert await parsed(LARGE_BYTES - 1, threading.get_ident) == here
    assert await parsed(LARGE_BYTES, threading.get_ident) != here


async def test_the_loop_runs_while_the_thread_parses() -> None:
    release = threading.Event()
    reading = asyncio.create_task(parsed(LARGE_BYTES, release.wait, PATIENCE_S))
    await asyncio.sleep(0.05)
    assert not reading.done()
    release.set()
    assert await reading


async def test_the_error_of_the_thread_is_raised() -> None:
    def fail() -> None:
        raise InvalidRequest("no image")

    with pytest.raises(InvalidRequest, match="no image"):
        await parsed(LARGE_BYTES, fail)


async def test_a_cancelled_call_waits_for_the_thread_but_not_for_its_turn() -> None:
    release, begun = threading.Event(), []

    def read(number: int) -> None:
        begun.append(number)
        release.wait(PATIENCE_S)

    budget = Inflight(1000)

    async def request(number: int) -> None:
        with budget.reservation() as reserved:
            reserved.add(400)
            await parsed(LARGE_BYTES, read, number)

    first, second = (asyncio.create_task(request(number)) for number in range(2))
    while not begun:
        await asyncio.sleep(0.01)
    second.cancel()
    with pytest.raises(asyncio.CancelledError):
        await second
    assert budget.reserved == 400
    for _ in range(2):  # a service that stops may cancel again
        first.cancel()
        await asyncio.sleep(0.05)
    assert not first.done()
    assert budget.reserved == 400  # the body is still there
    release.set()
    with pytest.raises(asyncio.CancelledError):
        await first
    assert budget.reserved == 0
    assert begun == [0]


@pytest.mark.parametrize("wire", ["json", "multipart", "raw", "rpc"])
async def test_which_bodies_are_parsed_in_the_thread(
    services: Services, observer: Observer, monkeypatch: pytest.MonkeyPatch, wire: str
) -> None:
    threads = []

    def watched(read: Any) -> Any:
        def reading(*arguments: Any) -> Any:
            threads.append(threading.current_thread().name)
            return read(*arguments)

        return reading

    for codec in (JsonCodec, RawCodec, UploadCodec, ProtoCodec):
        monkeypatch.setattr(codec, "read", watched(codec.read))
    if wire == "rpc":
        server = build_rpc_server(
            Desk(services, observer, Inflight(4 * LARGE_BYTES)), max_body_bytes=4 * LARGE_BYTES
        )
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            message = pb.Request(name="waste", key=["image"], value=[LARGE])
            assert (await pb_grpc.PipelineServiceStub(channel).inference(message)).err_no == 0
        await server.stop(0)
    else:
        app = build_http_app(
            Desk(services, observer, Inflight(4 * LARGE_BYTES)), max_body_bytes=4 * LARGE_BYTES
        )
        forms: dict[str, Any] = {
            "json": {"json": {"key": ["image"], "value": [LARGE]}},
            "multipart": {"files": [("a", ("a.jpg", LARGE.encode()))]},
            "raw": {
                "content": b"\xff\xd8\n" + LARGE.encode(),
                "headers": {"Content-Type": "image/jpeg"},
            },
        }
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test"
        ) as client:
            response = await client.post("/waste/prediction", **forms[wire])
        assert response.status_code == 200
    (thread,) = threads
    assert thread.startswith("parse") == (wire != "raw")
