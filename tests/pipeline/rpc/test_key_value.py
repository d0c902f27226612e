from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

import grpc
import grpc.aio
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.key_ring import KeyRing
from pipeline.admission.services import Services
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.rpc import call as rpc_call
from pipeline.rpc.server import build_rpc_server
from pipeline.settings.api_keys import parse_api_keys
from protocol.errors import Overloaded
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.reply import Category
from tests.http2 import INFERENCE
from tests.patience import PATIENCE_S

IMAGE = base64.b64encode(b"cat").decode()


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return pb_grpc.PipelineServiceStub(channel)


async def test_a_request_is_answered(stub: Any, engine: Any) -> None:
    request = pb.Request(key=["image"], value=[IMAGE], name="waste", method="prediction", logid=4)
    response = await stub.inference(request)
    assert (response.err_no, response.err_msg) == (0, "")
    answers = dict(zip(response.key, response.value, strict=True))
    assert json.loads(answers["label"]) == ["cat"]
    assert engine.requests[0]["log_id"] == 4


async def test_an_empty_name_means_the_only_service(stub: Any) -> None:
    assert (await stub.inference(pb.Request(key=["image"], value=[IMAGE]))).err_no == 0


@pytest.mark.parametrize(
    ("request_", "err_no"),
    [
        (pb.Request(name="peach", key=["image"], value=[IMAGE]), 3002),
        (pb.Request(name="waste"), 5000),
        (pb.Request(name="waste", key=["image"], value=["?"]), 5000),
        (pb.Request(name="waste", key=["image", "topk"], value=[IMAGE, "0"]), 5000),
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
    request = pb.Request(name="waste", key=["image"], value=[IMAGE])
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
    assert (await stub.inference(pb.Request(key=["image"], value=[IMAGE]))).err_no == 0


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_a_compressed_message_is_read(stub: Any, compression: Any) -> None:
    request = pb.Request(name="waste", key=["image"], value=[IMAGE])
    assert (await stub.inference(request, compression=compression)).err_no == 0


@pytest.mark.parametrize(
    ("max_body_bytes", "inflight_bytes", "err_no", "reason"),
    [
        (100_000, 10_000_000, 5002, "unpacks to more"),
        # gRPC itself would unpack it, and refuse it only by the limit of the port.
        (10_000_000, 500_000, 3004, "the requests in memory"),
    ],
)
async def test_what_a_message_unpacks_to_is_limited(
    services: Services,
    observer: Observer,
    max_body_bytes: int,
    inflight_bytes: int,
    err_no: int,
    reason: str,
) -> None:
    inflight = Inflight(inflight_bytes)
    server = build_rpc_server(Desk(services, observer, inflight), max_body_bytes=max_body_bytes)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.PipelineServiceStub(channel)
        bomb = pb.Request(name="waste", key=["image"], value=["A" * 1_000_000])
        for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
            response = await stub.inference(bomb, compression=compression)
            assert (response.err_no, reason in response.err_msg) == (err_no, True)
    assert inflight.reserved == 0
    await server.stop(0)


async def test_a_damaged_compressed_message_is_an_error(channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(INFERENCE, response_deserializer=pb.Response.FromString)
    response = await call(b"\x1f\x8bnothing")
    assert (response.err_no, "unpacked as gzip" in response.err_msg) == (5000, True)


async def test_a_message_over_the_limit_is_counted_as_that(stub: Any, metrics: Metrics) -> None:
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.inference(pb.Request(name="waste", key=["image"], value=["A" * 4000]))
    while not (counted := outcomes(metrics)):
        await asyncio.sleep(0.01)
    assert counted == {"too_large": 1}


async def test_an_answer_that_cannot_be_written_is_an_error(
    stub: Any, engine: Any, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def classify(*_arguments: Any, **_options: Any) -> Any:
        return [(Category(1, "\ud800bad", 0.5),)]

    monkeypatch.setattr(engine, "classify", classify)
    assert (await stub.inference(pb.Request(key=["image"], value=[IMAGE]))).err_no == 10000
    assert outcomes(metrics) == {"prediction_failed": 1}


def outcomes(metrics: Metrics) -> dict[str, float]:
    return {
        sample.labels["outcome"]: sample.value
        for family in metrics.registry.collect()
        if family.name == "serving_requests"
        for sample in family.samples
    }


async def test_the_deadline_of_the_caller_is_handed_on(stub: Any, engine: Any) -> None:
    await stub.inference(pb.Request(key=["image"], value=[IMAGE]), timeout=PATIENCE_S)
    # gRPC rounds the seconds up: 301 of 300.
    assert 0 < engine.requests[0]["timeout_s"] <= 1.1 * PATIENCE_S


async def test_a_caller_that_goes_away_cancels_its_request(stub: Any, engine: Any) -> None:
    engine.delay_s = 30
    call = stub.inference(pb.Request(key=["image"], value=[IMAGE]))
    while not engine.requests:
        await asyncio.sleep(0.01)
    call.cancel()
    while not engine.cancelled:
        await asyncio.sleep(0.01)


async def begin(port: int, *metadata: tuple[str, str]) -> grpc.aio.StreamUnaryCall:
    """Begin a call whose message does not come: a stream, which is the same on the wire."""
    channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
    return channel.stream_unary(
        INFERENCE,
        response_deserializer=pb.Response.FromString,
    )(metadata=metadata)


async def test_a_call_without_a_key_is_refused_before_its_message_is_read(
    services: Services, observer: Observer
) -> None:
    key = "0123456789abcdef"
    keys = KeyRing(parse_api_keys(f"app: {key}", "here"))
    server = build_rpc_server(
        Desk(services, observer, Inflight(2000), keys=keys), max_body_bytes=2000
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    call = await begin(port)
    assert (await asyncio.wait_for(call, PATIENCE_S)).err_no == 3006
    call = await begin(port, ("authorization", f"Bearer {key}"))
    await asyncio.sleep(0.2)
    assert not call.done()
    await call.write(pb.Request(key=["image"], value=[IMAGE]).SerializeToString())
    await call.done_writing()
    assert (await call).err_no == 0
    await server.stop(0)


async def test_a_message_that_does_not_come_is_not_waited_for(
    services: Services, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rpc_call, "READ_TIMEOUT_S", 0.2)
    server = build_rpc_server(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    call = await begin(port)
    assert (await asyncio.wait_for(call, PATIENCE_S)).err_no == 6000
    monkeypatch.setattr(rpc_call, "READ_TIMEOUT_S", PATIENCE_S)
    call = await begin(port)
    await call.done_writing()
    response = await asyncio.wait_for(call, PATIENCE_S)
    assert (response.err_no, response.err_msg) == (5000, "the call has no message")
    await server.stop(0)


# gRPC's thread that watches a synchronous channel may find it closed when it looks next.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("options", [(), (("grpc.lb_policy_name", "round_robin"),)])
async def test_a_channel_whose_idle_connection_was_closed_opens_another(
    services: Services,
    observer: Observer,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[tuple[str, str], ...],
) -> None:
    make_server = grpc.aio.server
    idle: list[int] = []

    def soon_closing(options: list[tuple[str, int]]) -> grpc.aio.Server:
        given = dict(options)
        idle.append(given["grpc.max_connection_idle_ms"])
        return make_server(options=list({**given, "grpc.max_connection_idle_ms": 100}.items()))

    monkeypatch.setattr(grpc.aio, "server", soon_closing)
    server = build_rpc_server(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    request = pb.Request(key=["image"], value=[IMAGE])
    # As Paddle Serving 0.9's own client has it, whose channel is synchronous.
    address, own = f"127.0.0.1:{port}", [*options, ("grpc.use_local_subchannel_pool", 1)]
    closed = threading.Event()

    def seen(state: grpc.ChannelConnectivity) -> None:
        if state is not grpc.ChannelConnectivity.READY and requested.is_set():
            closed.set()

    def ask() -> int:
        return pb_grpc.PipelineServiceStub(old).inference(request, timeout=PATIENCE_S).err_no

    requested = threading.Event()
    with grpc.insecure_channel(address, options=own) as old:
        old.subscribe(seen)
        assert await asyncio.to_thread(ask) == 0
        requested.set()
        assert await asyncio.to_thread(closed.wait, PATIENCE_S)
        assert await asyncio.to_thread(ask) == 0
    async with grpc.aio.insecure_channel(address, options=own) as channel:
        stub = pb_grpc.PipelineServiceStub(channel)
        assert (await stub.inference(request, timeout=PATIENCE_S)).err_no == 0
        ready = grpc.ChannelConnectivity.READY
        while channel.get_state() is ready:
            await asyncio.wait_for(channel.wait_for_state_change(ready), PATIENCE_S)
        assert (await stub.inference(request, timeout=PATIENCE_S)).err_no == 0
    await server.stop(0)
    assert idle == [27_000]


async def test_one_connection_too_many_is_closed(services: Services, observer: Observer) -> None:
    server = build_rpc_server(
        Desk(services, observer, Inflight(2000)), max_body_bytes=2000, max_connections=3
    )
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    request = pb.Request(key=["image"], value=[IMAGE])
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.PipelineServiceStub(channel)
        assert (await stub.inference(request)).err_no == 0
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        greetings = [await asyncio.wait_for(reader.read(9), 10) for reader, _ in streams]
        assert sum(not greeting for greeting in greetings) == 4
        assert (await stub.inference(request)).err_no == 0
        for _, writer in streams:
            writer.close()
    await server.stop(0)
