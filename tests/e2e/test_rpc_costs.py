"""What callers cost over RPC who mean no good, measured at the service."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2

from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.http2 import CHECK, INFERENCE, WATCH, Http2Connection, message
from tests.patience import PATIENCE_S

MIB = 2**20


@pytest.fixture(scope="module")
def service(start_any_service: Any, tiny_config: Path) -> Iterator[Any]:
    settings = ("op.waste.concurrency=1", "max_body_mb=64", "max_inflight_mb=128")
    with start_any_service(tiny_config, *settings) as service:
        yield service


class Memory:
    """The most memory that the service has taken since this was made, in bytes."""

    def __init__(self, pid: int) -> None:
        self._folder = Path(f"/proc/{pid}")
        try:
            (self._folder / "clear_refs").write_text("5")
        except OSError:
            pytest.skip("the peak of another process cannot be measured here")
        self._before = self._peak()

    def growth(self) -> int:
        return self._peak() - self._before

    def _peak(self) -> int:
        lines = (self._folder / "status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_compressed_health_checks_take_no_memory(service: Any) -> None:
    # 58 KiB, which unpack to 60 MiB.
    request = health_pb2.HealthCheckRequest(service="A" * (60 * MIB)).SerializeToString()
    bomb = message(gzip.compress(request), packed=True)
    with Http2Connection(service.rpc_port) as connection:
        memory = Memory(service.process.pid)
        for _ in range(24):
            stream = connection.begin(CHECK, ("grpc-encoding", "gzip"))
            connection.send(stream, bomb, end=True)
            connection.read_reply(stream)
        # gRPC took 1,300 MiB; one message would be 60.
        assert memory.growth() < 30 * MIB


def test_messages_that_arrive_take_what_the_budget_allows(service: Any) -> None:
    with Http2Connection(service.rpc_port) as connection:
        memory = Memory(service.process.pid)
        streams = [connection.begin(INFERENCE) for _ in range(16)]
        for stream in streams:  # 640 MiB, none of them whole
            connection.send(stream, message(bytes(40 * MIB), length=60 * MIB))
        replies = [pb.Response.FromString(connection.read_reply(stream)) for stream in streams]
        assert {reply.err_no for reply in replies} == {3004}
        # What came between two looks counts too.
        assert memory.growth() < 3 * 128 * MIB


def test_messages_in_small_frames_take_no_more(service: Any) -> None:
    # gRPC keeps each frame as a piece of its own, so 24 bytes take 65.
    with Http2Connection(service.rpc_port) as connection:
        memory = Memory(service.process.pid)
        streams = [connection.begin(INFERENCE) for _ in range(16)]
        for stream in streams:  # 160 MiB
            connection.send(stream, message(bytes(10 * MIB), length=60 * MIB), frame_size=24)
        replies = [pb.Response.FromString(connection.read_reply(stream)) for stream in streams]
        assert {reply.err_no for reply in replies} == {3004}
        assert memory.growth() < 192 * MIB  # 256, if bytes on the wire were all that counts


def test_over_a_thousand_calls_at_once_cancel_no_call_of_another(service: Any) -> None:
    enough = threading.Event()

    def begin() -> None:
        for _ in range(2):  # 2 x 10 x 64 calls fit among those that may wait
            with contextlib.ExitStack() as stack:
                connections = [
                    stack.enter_context(Http2Connection(service.rpc_port)) for _ in range(10)
                ]
                for connection in connections:
                    connection.begin_many(250, WATCH, whole=message(b""))
                for connection in connections:
                    connection.read_reply(499)
        enough.set()

    def call() -> set[Any]:
        outcomes: set[Any] = set()
        with grpc.insecure_channel(service.endpoint) as channel:
            stub = pb_grpc.PipelineServiceStub(channel)  # type: ignore[no-untyped-call]
            while not enough.is_set():
                try:
                    outcomes.add(stub.inference(pb.Request(), timeout=PATIENCE_S).err_no)
                except grpc.RpcError as error:
                    outcomes.add(error.code())
        return outcomes

    with ThreadPoolExecutor(4) as pool:
        calling = [pool.submit(call) for _ in range(3)]
        pool.submit(begin).result()
        # An error of ours, in a reply that is OK.
        assert set.union(*(each.result() for each in calling)) == {5000}
