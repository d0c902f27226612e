"""The end of a gRPC server: no call ends in CANCELLED."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc import leaving, sockets
from pipeline.rpc.leaving import RpcPort, RunningCalls
from pipeline.rpc.server import build_rpc_server
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.patience import PATIENCE_S

trustme = pytest.importorskip("trustme")

REQUEST = pb.Request(key=["image"], value=[base64.b64encode(b"cat").decode()])
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE


class Port:
    """A server on a port of its own."""

    def __init__(self, services: Services, observer: Observer, authority: Any = None) -> None:
        calls = RunningCalls()
        desk = Desk(services, observer, Inflight(2000))
        self.server = build_rpc_server(desk, max_body_bytes=2000, calls=calls)
        if authority is None:
            self.number = self.server.add_insecure_port("127.0.0.1:0")
        else:
            issued = authority.issue_cert("localhost")
            pair = (issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes())
            credentials = grpc.ssl_server_credentials([pair])
            self.number = self.server.add_secure_port("localhost:0", credentials)
        self.rpc = RpcPort(self.server, self.number, calls, tls=authority is not None)


@pytest.fixture
async def port(services: Services, observer: Observer) -> AsyncIterator[Port]:
    port = Port(services, observer)
    await port.server.start()
    yield port
    await port.server.stop(0)


def hammer(address: str, outcomes: Counter[Any], enough: threading.Event, **options: Any) -> None:
    """Call without a pause, on a connection of its own."""
    own = [("grpc.use_local_subchannel_pool", 1)]
    if "credentials" in options:
        channel = grpc.secure_channel(address, options["credentials"], options=own)
    else:
        channel = grpc.insecure_channel(address, options=own)
    with channel:
        stub = pb_grpc.PipelineServiceStub(channel)  # type: ignore[no-untyped-call]
        while not enough.is_set():
            try:
                outcomes[stub.inference(REQUEST, timeout=PATIENCE_S).err_no] += 1
            except grpc.RpcError as error:
                outcomes[error.code()] += 1
                enough.wait(0.01)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "TLS"])
async def test_no_call_is_cancelled_by_a_stop_under_load(
    services: Services, observer: Observer, tls: bool
) -> None:
    authority = trustme.CA() if tls else None
    port = Port(services, observer, authority)
    await port.server.start()
    outcomes: Counter[Any] = Counter()
    enough = threading.Event()
    options: dict[str, Any] = {}
    if authority is not None:
        options["credentials"] = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
    callers = [
        threading.Thread(
            target=hammer, args=(f"localhost:{port.number}", outcomes, enough), kwargs=options
        )
        for _ in range(8)
    ]
    for caller in callers:
        caller.start()
    while outcomes[0] < 100:
        await asyncio.sleep(0.01)
    services.phase = "stopping"
    await asyncio.wait_for(port.rpc.leave(PATIENCE_S), PATIENCE_S)
    while not outcomes[UNAVAILABLE]:
        await asyncio.sleep(0.01)
    enough.set()
    for caller in callers:
        await asyncio.to_thread(caller.join)
    assert set(outcomes) <= {0, 3001, UNAVAILABLE}, outcomes


async def test_a_call_that_runs_ends_well_while_others_are_refused(
    port: Port, services: Services, engine: Any
) -> None:
    engine.delay_s = 0.5
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.number}") as channel:
        stub = pb_grpc.PipelineServiceStub(channel)
        running = asyncio.ensure_future(stub.inference(REQUEST))
        while not engine.requests:
            await asyncio.sleep(0.01)
        services.phase = "stopping"
        gone = asyncio.create_task(port.rpc.leave(PATIENCE_S))
        assert (await stub.inference(REQUEST)).err_no == 3001
        assert (await running).err_no == 0
        await asyncio.wait_for(gone, PATIENCE_S)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.inference(REQUEST)
        assert caught.value.code() is UNAVAILABLE


async def test_a_call_that_does_not_end_has_its_time_and_no_more(port: Port, engine: Any) -> None:
    engine.delay_s = PATIENCE_S
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.number}") as channel:
        running = asyncio.ensure_future(pb_grpc.PipelineServiceStub(channel).inference(REQUEST))
        while not engine.requests:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(port.rpc.leave(0.3), PATIENCE_S)
        with pytest.raises(grpc.aio.AioRpcError):
            await running


async def test_an_idle_connection_gets_goaway_at_once(port: Port) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port.number)
    # The greeting of a client: its preface, and empty settings.
    writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
    greeting = await asyncio.wait_for(reader.readexactly(9), PATIENCE_S)
    assert greeting[3] == 4  # SETTINGS
    # Both sides have greeted when the client's settings are acknowledged.
    acknowledged = bytes((0, 0, 0, 4, 1, 0, 0, 0, 0))
    await asyncio.wait_for(reader.readuntil(acknowledged), PATIENCE_S)
    await asyncio.wait_for(port.rpc.leave(PATIENCE_S), PATIENCE_S)
    rest = await asyncio.wait_for(reader.read(), PATIENCE_S)
    assert rest.endswith(bytes((0, 0, 8, 7, 0, 0, 0, 0, 0)) + bytes(8))
    writer.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number))


async def test_where_descriptors_cannot_be_listed_grpc_stops_by_its_own_means(
    port: Port, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "FOLDER_OF_DESCRIPTORS", "/no/such/folder")
    await asyncio.wait_for(port.rpc.leave(PATIENCE_S), PATIENCE_S)
    assert "gRPC is stopped by its own means" in caplog.text


async def test_what_waits_in_the_listen_queue_is_accepted_before_the_port_closes() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        number = listening.getsockname()[1]
        with socket.create_connection(("127.0.0.1", number)) as waiting:
            closing = asyncio.create_task(leaving._close_listening(number))
            # The queue is cut to one place before it is waited for.
            while listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 32)[28:32] != bytes(4):
                await asyncio.sleep(0.001)
            accepted, _ = listening.accept()
            with accepted:
                await closing
                accepted.sendall(b"here")
                assert waiting.recv(4) == b"here"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", number))


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        ("ipv4:127.0.0.1:5000", ("127.0.0.1", 5000)),
        ("ipv6:%5B::1%5D:5000", ("::1", 5000)),
        ("ipv6:[::ffff:10.0.0.1]:5000", ("10.0.0.1", 5000)),
        ("ipv6:%5Bfe80::1%25eth0%5D:5000", ("fe80::1", 5000)),
        ("unix:/a/socket", None),
        ("", None),
    ],
)
def test_the_address_of_a_caller(peer: str, address: Any) -> None:
    assert sockets.address_of_peer(peer) == address


async def test_a_watcher_of_health_gets_the_last_state(port: Port, services: Services) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port.number}") as channel:
        watching = health_pb2_grpc.HealthStub(channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=PATIENCE_S
        )
        serving = health_pb2.HealthCheckResponse.SERVING
        assert (await watching.read()).status == serving
        services.phase = "stopping"
        gone = asyncio.create_task(port.rpc.leave(PATIENCE_S))
        assert (await watching.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert await watching.read() is grpc.aio.EOF
        await asyncio.wait_for(gone, PATIENCE_S)
