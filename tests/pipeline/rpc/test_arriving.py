"""The bytes of messages that gRPC has not passed on yet."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import grpc.aio
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc import arriving as arriving_module
from pipeline.rpc import sockets
from pipeline.rpc.arriving import Arriving
from pipeline.rpc.server import build_rpc_server
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.http2 import INFERENCE, Http2Connection, message
from tests.patience import PATIENCE_S

MIB = 2**20
LIMIT, MOST = 8 * MIB, 4 * MIB
REQUEST = pb.Request(key=["image"], value=[base64.b64encode(b"cat").decode()])
HERE, THERE = ("127.0.0.1", 5000), ("127.0.0.1", 5001)


@pytest.fixture
def arriving() -> Arriving:
    return Arriving(Inflight(LIMIT), MOST)


@pytest.fixture
async def port(services: Services, observer: Observer, arriving: Arriving) -> AsyncIterator[int]:
    desk = Desk(services, observer, arriving._inflight)
    server = build_rpc_server(desk, max_body_bytes=MOST, arriving=arriving)
    number = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    arriving.port.number = number
    yield number
    await server.stop(0)


def err_no(reply: bytes) -> int:
    return pb.Response.FromString(reply).err_no


async def test_messages_that_do_not_fit_while_they_arrive_are_overload(
    port: int, arriving: Arriving
) -> None:
    def send_much() -> list[int]:
        with Http2Connection(port) as connection:
            streams = [connection.begin(INFERENCE) for _ in range(6)]
            # Never whole, so no call counts them: three quarters of each are with gRPC.
            for stream in streams:
                connection.send(stream, message(bytes(3 * MIB), length=MOST))
            return [err_no(connection.read_reply(stream)) for stream in streams]

    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.PipelineServiceStub(channel)
        sending = asyncio.create_task(asyncio.to_thread(send_much))
        while not sending.done():
            assert (await stub.inference(REQUEST, timeout=PATIENCE_S)).err_no == 0
        assert await sending == 6 * [3004]
    assert arriving._inflight.reserved == 0
    assert not arriving._readings


async def test_messages_that_fit_are_waited_for_however_slow(port: int, arriving: Arriving) -> None:
    looks = 0
    received = arriving_module._received

    def look(number: int) -> Any:
        nonlocal looks
        looks += 1
        return received(number)

    arriving_module._received = look  # type: ignore[assignment]
    whole = message(REQUEST.SerializeToString())

    def send_slowly() -> list[int]:
        with Http2Connection(port) as connection:
            for _ in range(3):  # what has come and gone does not count
                stream = connection.begin(INFERENCE)
                large = pb.Request(key=["image"], value=["?" * (3 * MIB)]).SerializeToString()
                connection.send(stream, message(large), end=True)
                assert err_no(connection.read_reply(stream)) == 5000
            streams = [connection.begin(INFERENCE) for _ in range(12)]
            for stream in streams:
                connection.send(stream, whole[:9])
            while looks < 3:
                connection.read(0.01)
            for stream in streams:
                connection.send(stream, whole[9:], end=True)
            return [err_no(connection.read_reply(stream)) for stream in streams]

    try:
        assert await asyncio.to_thread(send_slowly) == 12 * [0]
    finally:
        arriving_module._received = received


async def test_the_connection_with_the_most_makes_room(arriving: Arriving) -> None:
    arriving.port.number = 1
    readings: dict[Any, list[asyncio.Future[Any]]] = {HERE: [], THERE: []}
    for address, futures in readings.items():
        for _ in range(3):
            future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            futures.append(future)
            arriving._readings[future] = address, 0.0
            arriving._finished.setdefault(address, 0)
    half = MIB // 2  # what arrives counts twice
    arriving._cut_off({HERE: 3 * half, THERE: 5 * half})
    assert not any(future.cancelled() for future in (*readings[HERE], *readings[THERE]))
    # What came of whole messages is counted by their calls.
    arriving.finished("ipv4:127.0.0.1:5001", 4 * half)
    arriving._cut_off({HERE: 5 * half, THERE: 6 * half})
    assert not any(future.cancelled() for future in (*readings[HERE], *readings[THERE]))
    arriving._cut_off({HERE: 6 * half, THERE: 7 * half})
    assert all(future.cancelled() for future in readings[HERE])
    assert not any(future.cancelled() for future in readings[THERE])


async def test_a_quiet_connection_begins_anew(arriving: Arriving) -> None:
    arriving._finished[HERE] = 1000
    arriving._finished[THERE] = 1000
    assert arriving._arrived({HERE: 5 * MIB}) == {}
    assert arriving._finished == {HERE: 5 * MIB}  # and THERE is gone
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    arriving._readings[future] = HERE, 0.0
    # In small frames it may take twice that.
    assert arriving._arrived({HERE: 6 * MIB}) == {HERE: 2 * MIB}
    # Another connection from the same port of the client.
    assert arriving._arrived({HERE: 2 * MIB}) == {HERE: 4 * MIB}


async def test_where_descriptors_cannot_be_listed_nothing_is_counted_and_the_log_says_so_once(
    port: int,
    arriving: Arriving,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(sockets, "FOLDER_OF_DESCRIPTORS", "/nowhere")
    whole = message(REQUEST.SerializeToString())

    def send_slowly() -> list[int]:
        with Http2Connection(port) as connection:
            streams = [connection.begin(INFERENCE) for _ in range(6)]
            while arriving.counts:
                connection.read(0.01)
            for stream in streams:
                connection.send(stream, whole, end=True)
            return [err_no(connection.read_reply(stream)) for stream in streams]

    for _ in range(2):
        assert await asyncio.to_thread(send_slowly) == 6 * [0]
    logged = [record.getMessage() for record in caplog.records]
    assert len([text for text in logged if "cannot be counted here" in text]) == 1
    assert len(logged) == 1
    assert arriving._looking is None
