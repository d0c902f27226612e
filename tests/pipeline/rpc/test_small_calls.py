"""What health and reflection cost when their callers mean no good."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.key_ring import KeyRing
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc import health, reflection, small_calls, sockets
from pipeline.rpc.arriving import Arriving
from pipeline.rpc.server import build_rpc_server
from pipeline.rpc.small_calls import MOST_BYTES, UNCOUNTED_READINGS, Calls, PlacesTaken
from pipeline.settings.api_keys import parse_api_keys
from tests.http2 import CHECK, Http2Connection, message
from tests.patience import PATIENCE_S

KEY = "0123456789abcdef"
SERVING = health_pb2.HealthCheckResponse.SERVING
EXHAUSTED = grpc.StatusCode.RESOURCE_EXHAUSTED
Check = health_pb2.HealthCheckRequest
Reflect = reflection_pb2.ServerReflectionRequest
# The limit of the port, far above that of a small message.
MAX_BODY_BYTES = 8 * 2**20


@pytest.fixture
async def port(services: Services, observer: Observer) -> AsyncIterator[int]:
    desk = Desk(services, observer, Inflight(2 * MAX_BODY_BYTES))
    arriving = Arriving(desk.inflight, MAX_BODY_BYTES)
    server = build_rpc_server(desk, max_body_bytes=MAX_BODY_BYTES, arriving=arriving)
    number = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    arriving.port.number = number
    yield number
    await server.stop(0)


@pytest.fixture
async def channel(port: int) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return health_pb2_grpc.HealthStub(channel)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await asyncio.wait_for(call, PATIENCE_S)
    return caught.value.code(), caught.value.details() or ""


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_health_of_a_client_that_compresses_is_checked(stub: Any, compression: Any) -> None:
    reply = await stub.Check(Check(service="waste"), compression=compression)
    assert reply.status == SERVING
    text = "x" * 500
    code, _ = await refused(stub.Check(Check(service=text), compression=compression))
    assert code is grpc.StatusCode.NOT_FOUND


async def test_a_compressed_health_check_is_never_unpacked_beyond_its_limit(stub: Any) -> None:
    bomb = Check(service="A" * (MAX_BODY_BYTES - 100))
    # What is counted is what came, so gRPC has not unpacked it.
    came = len(gzip.compress(bomb.SerializeToString(), 6))
    assert MOST_BYTES < came < MAX_BODY_BYTES / 100
    code, text = await refused(stub.Check(bomb, compression=grpc.Compression.Gzip))
    assert code is EXHAUSTED
    assert abs(int(text.split()[3]) - came) < 100
    small = Check(service="A" * 1_000_000)
    code, text = await refused(stub.Check(small, compression=grpc.Compression.Gzip))
    assert (code, "4096" in text) == (grpc.StatusCode.INVALID_ARGUMENT, True)


async def test_a_large_health_check_is_refused(stub: Any) -> None:
    code, text = await refused(stub.Check(Check(service="A" * MOST_BYTES)))
    assert (code, f"the limit here is {MOST_BYTES}" in text) == (EXHAUSTED, True)


@pytest.mark.parametrize(
    "sent",
    [b"\xff\xff", b"\x1f\x8bxxxx", zlib.compress(b"")[:-1], gzip.compress(b"", mtime=0) + b"x"],
    ids=["no message", "no gzip", "cut off", "more behind"],
)
async def test_a_health_check_that_is_none_is_refused(channel: Any, sent: bytes) -> None:
    code, text = await refused(channel.unary_unary(CHECK)(sent))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert text.startswith("the message")


async def test_health_checks_that_arrive_have_the_bytes_of_one_message(
    port: int, stub: Any
) -> None:
    def send_much() -> set[int]:
        with Http2Connection(port) as connection:
            streams = [connection.begin(CHECK) for _ in range(health.CHECKS_PER_CONNECTION)]
            for stream in streams:  # never whole: seven eighths of each could be with gRPC
                large = message(bytes(7 * MAX_BODY_BYTES // 8), length=MAX_BODY_BYTES)
                connection.send(stream, large, patience_s=0.01)
            # All but those that were begun after the last look, and they wait for nothing.
            while len(connection.ended) < len(streams) - 2:
                connection.read(1)
            return connection.ended

    sending = asyncio.create_task(asyncio.to_thread(send_much))
    while not sending.done():
        assert (await asyncio.wait_for(stub.Check(Check()), PATIENCE_S)).status == SERVING
    assert await asyncio.wait_for(sending, PATIENCE_S)


async def test_few_messages_are_read_at_once_where_nothing_counts_what_arrives(
    port: int, stub: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "FOLDER_OF_DESCRIPTORS", "/nowhere")

    def begin() -> tuple[Http2Connection, list[int]]:
        connection = Http2Connection(port)
        return connection, [connection.begin(CHECK) for _ in range(8)]

    connection, streams = await asyncio.to_thread(begin)
    with connection:
        while len(connection.ended) < len(streams) - UNCOUNTED_READINGS:
            assert (await asyncio.wait_for(stub.Check(Check()), PATIENCE_S)).status == SERVING
            await asyncio.to_thread(connection.read, 0.1)


@pytest.mark.parametrize("connections", [1, 8])
async def test_silent_health_checks_keep_nobody_out_and_delay_nobody(
    port: int, stub: Any, monkeypatch: pytest.MonkeyPatch, connections: int
) -> None:
    # None of them ends by itself.
    monkeypatch.setattr(small_calls, "READ_TIMEOUT_S", 10 * PATIENCE_S)
    monkeypatch.setattr(small_calls, "READINGS", 32)

    def begin() -> list[Http2Connection]:
        return [Http2Connection(port) for _ in range(connections)]

    silent = await asyncio.to_thread(begin)
    with contextlib.ExitStack() as stack:
        for connection in silent:
            stack.enter_context(connection)
            for _ in range(health.CHECKS_PER_CONNECTION):
                await asyncio.to_thread(connection.begin, CHECK)
        for _ in range(20):
            assert (await asyncio.wait_for(stub.Check(Check()), PATIENCE_S)).status == SERVING
        # Those that do not fit have lost their places, the oldest first.
        while connections > 2 and not silent[0].ended:
            await asyncio.to_thread(silent[0].read, 1)


async def test_a_health_check_whose_message_does_not_come_ends(
    channel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_calls, "READ_TIMEOUT_S", 0.05)
    code, _ = await refused(channel.stream_unary(CHECK)())
    assert code is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_connection_has_few_checks(channel: Any) -> None:
    silent = [channel.stream_unary(CHECK)() for _ in range(health.CHECKS_PER_CONNECTION + 1)]
    ended, _ = await asyncio.wait(
        [asyncio.ensure_future(refused(call)) for call in silent],
        timeout=PATIENCE_S,
        return_when=asyncio.FIRST_COMPLETED,
    )
    code, text = ended.pop().result()
    assert (code, "this connection has 16 calls of Check" in text) == (EXHAUSTED, True)
    for call in silent:
        call.cancel()


async def test_a_connection_has_few_watches(stub: Any) -> None:
    watching = [stub.Watch(Check()) for _ in range(health.WATCHES_PER_CONNECTION)]
    for each in watching:
        assert (await each.read()).status == SERVING
    code, text = await refused(stub.Watch(Check()).read())
    assert (code, "4 calls of Watch" in text) == (EXHAUSTED, True)
    watching[0].cancel()
    while True:  # the place is free when the server has learned of it
        another = stub.Watch(Check())
        try:
            assert (await another.read()).status == SERVING
        except grpc.aio.AioRpcError:
            continue
        break


class Caller:
    """What is needed of gRPC's context."""

    def __init__(self, host: str, port: int) -> None:
        self.peer = lambda: f"ipv4:{host}:{port}"


async def test_a_host_that_has_all_watches_makes_room_for_another() -> None:
    calls: Any = Calls("Watch", 4, 2)
    ends = asyncio.Event()

    async def watch(host: str, number: int) -> None:
        with calls.place(Caller(host, number)):
            await ends.wait()

    greedy = [asyncio.create_task(watch("10.0.0.1", number)) for number in (1, 1, 2, 3)]
    await asyncio.sleep(0)
    assert calls.running == 4
    with pytest.raises(PlacesTaken, match="the most there may be"):
        await watch("10.0.0.1", 4)
    with pytest.raises(PlacesTaken, match="this connection"):
        await watch("10.0.0.1", 1)
    honest = asyncio.create_task(watch("10.0.0.2", 1))
    with pytest.raises(PlacesTaken, match="the most there may be"):
        await greedy[3]
    assert calls.running == 4
    ends.set()
    await asyncio.gather(*greedy[:3], honest)
    assert (calls.running, len(calls._by_peer)) == (0, 0)


# --- reflection -----------------------------------------------------------------------------------


def reflecting(channel: Any, *requests: Any, **options: Any) -> Any:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    return stub.ServerReflectionInfo(iter(requests), **options)


async def test_reflection_describes_this_port_and_nothing_else(channel: Any) -> None:
    names = [reply async for reply in reflecting(channel, Reflect(list_services=""))]
    services = [each.name for each in names[0].list_services_response.service]
    assert len(services) == 3
    files = ["protocol/key_value/pipeline_service.proto", "grpc_health/v1/health.proto"]
    requests = [Reflect(file_containing_symbol=name) for name in services]
    requests += [Reflect(file_by_filename=name) for name in files]
    requests.append(Reflect(all_extension_numbers_of_type="grpc.health.v1.HealthCheckRequest"))
    async for reply in reflecting(channel, *requests):
        assert not reply.HasField("error_response")
        assert reply.ByteSize() < 2000 + reply.original_request.ByteSize()
    unknown = [
        Reflect(file_by_filename="google/protobuf/descriptor.proto"),
        Reflect(file_containing_symbol="google.protobuf.FileDescriptorProto"),
        Reflect(file_containing_extension={"containing_type": services[0]}),
        Reflect(),
    ]
    replies = [reply async for reply in reflecting(channel, *unknown)]
    assert [reply.error_response.error_code for reply in replies] == [5, 5, 5, 3]


async def test_reflection_echoes_no_large_message(channel: Any) -> None:
    large = Reflect(file_containing_symbol="A" * 1_000_000)
    code, _ = await refused(reflecting(channel, large).read())
    assert code is EXHAUSTED
    packed = reflecting(channel, large, compression=grpc.Compression.Gzip)
    code, _ = await refused(packed.read())
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    code, _ = await refused(
        channel.stream_stream(f"/{reflection.SERVICE_NAME}/ServerReflectionInfo")(
            iter([b"\xff"])
        ).read()
    )
    assert code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_stream_of_reflection_ends(channel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflection, "MOST_REQUESTS", 2)
    call = reflecting(channel, *3 * [Reflect(list_services="")])
    assert len([await call.read() for _ in range(2)]) == 2
    code, text = await refused(call.read())
    assert (code, "2 requests" in text) == (EXHAUSTED, True)
    silent = [reflecting(channel) for _ in range(5)]
    assert [await call.read() for call in silent] == 5 * [grpc.aio.EOF]


async def test_reflection_needs_a_key_where_keys_are_set_and_health_does_not(
    services: Services, observer: Observer
) -> None:
    keys = KeyRing(parse_api_keys(f"app: {KEY}", "here"))
    desk = Desk(services, observer, Inflight(2000), keys=keys)
    server = build_rpc_server(desk, max_body_bytes=2000)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        request = Reflect(list_services="")
        code, text = await refused(reflecting(channel, request).read())
        assert (code, "API key" in text) == (grpc.StatusCode.UNAUTHENTICATED, True)
        reply = await reflecting(channel, request, metadata=(("x-api-key", KEY),)).read()
        assert reply.list_services_response.service
        assert (await health_pb2_grpc.HealthStub(channel).Check(Check())).status == SERVING
    await server.stop(0)
