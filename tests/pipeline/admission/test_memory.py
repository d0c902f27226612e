"""Requests that fail leave memory at once, not when the garbage collector comes round."""

from __future__ import annotations

import asyncio
import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import grpc
import grpc.aio
import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.changes import Changes
from pipeline.observation.observer import Observer
from pipeline.rpc.server import build_rpc_server
from pipeline.web.app import build_http_app
from protocol.errors import Overloaded, UndecodableImage
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.reply import Category, ImageResult
from protocol.request import EncodedImage

LARGE = 2**20
TIMES = 12
JPEG = {"Content-Type": "image/jpeg"}


class Engine:
    """Answers, refuses or finds no image, by how the image begins."""

    ready = True
    timeout_s = None
    on_change = staticmethod(Changes().subscribe)

    async def classify(self, images: Sequence[EncodedImage], **_options: Any) -> list[ImageResult]:
        await asyncio.sleep(0)
        if images[0].data.startswith(b"full"):
            raise Overloaded("full")
        bad = images[0].data.startswith(b"bad")
        return [UndecodableImage("bad") if bad else (Category(0, "cat", 0.5),)] * len(images)


@pytest.fixture
def services() -> Services:
    served = Services({"waste": Engine()}, max_images=8)
    served.phase = "ready"
    return served


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    tracemalloc.start()
    yield
    tracemalloc.stop()
    gc.enable()


@pytest.fixture
async def http(services: Services, observer: Observer) -> AsyncIterator[httpx.AsyncClient]:
    app = build_http_app(Desk(services, observer, Inflight(8 * LARGE)), max_body_bytes=8 * LARGE)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        yield client


async def _halves(body: bytes) -> AsyncIterator[bytes]:
    """Send in two pieces, so that the service has a body of its own."""
    yield body[: len(body) // 2]
    yield body[len(body) // 2 :]


async def _grown(send: Any) -> int:
    """Return by how many bytes memory is larger after several requests than after two.

    A body kept a request is `TIMES` x `LARGE` at least; a thread may still be at the last of them.
    """
    for _ in range(2):
        await asyncio.create_task(send())  # each in a task of its own, as a server has them
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(TIMES):
        await asyncio.create_task(send())
    return tracemalloc.get_traced_memory()[0] - before


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("case", ["no envelope", "no base64", "no image", "overload", "answered"])
async def test_over_http(http: httpx.AsyncClient, case: str) -> None:
    text = "A" * LARGE
    body, headers = b"bad" + bytes(LARGE), JPEG
    if case == "no envelope":
        body, headers = json.dumps({"key": [text], "value": []}).encode(), {}
    elif case == "no base64":
        body, headers = json.dumps({"key": ["a"], "value": [text + "*"]}).encode(), {}
    elif case == "overload":
        body = b"full" + bytes(LARGE)
    elif case == "answered":
        body = b"cat" + bytes(LARGE)

    async def send() -> None:
        answer = await http.post("/waste/prediction", content=_halves(body), headers=headers)
        assert (answer.status_code == 200) == (case == "answered")

    assert await _grown(send) < TIMES // 2 * LARGE


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("image", [b"bad" + bytes(LARGE), b"cat" + bytes(LARGE), b""])
async def test_over_rpc(services: Services, observer: Observer, image: bytes) -> None:
    server = build_rpc_server(
        Desk(services, observer, Inflight(8 * LARGE)), max_body_bytes=8 * LARGE
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    message = pb.Request(name="waste", tensors=[pb.Tensor(name="A" * LARGE, byte_data=image)])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.PipelineServiceStub(channel)

        async def send() -> None:
            await stub.inference(message)

        assert await _grown(send) < TIMES // 2 * LARGE
    await server.stop(0)
