"""The bounds of the gRPC server."""

from __future__ import annotations

import contextlib
import time
from typing import Any

import grpc.aio

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc.leaving import RunningCalls
from pipeline.rpc.server import build_rpc_server
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.http2 import INFERENCE, Http2Connection, message
from tests.patience import PATIENCE_S

STREAMS = 64
CONNECTIONS = 48
# With the few that gRPC hands on before it counts those that wait.
MOST_BEGUN = 2176


class CountedCalls(RunningCalls):
    """Counts the calls that have begun."""

    begun = 0

    def add(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self.begun += 1
        super().add(context)


async def test_calls_that_wait_for_the_loop_are_bounded(
    services: Services, observer: Observer
) -> None:
    calls = CountedCalls()
    desk = Desk(services, observer, Inflight(2**20))
    server = build_rpc_server(desk, max_body_bytes=2**20, calls=calls)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    with contextlib.ExitStack() as stack:
        # Nothing is awaited here, so the event loop takes no call.
        connections = [stack.enter_context(Http2Connection(port)) for _ in range(CONNECTIONS)]
        for connection in connections:
            connection.begin_many(STREAMS, INFERENCE, whole=message(b""))
        refused = CONNECTIONS * STREAMS - MOST_BEGUN
        ends = time.monotonic() + PATIENCE_S
        while sum(len(each.ended) for each in connections) < refused and time.monotonic() < ends:
            for connection in connections:
                connection.read(0.01)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = pb_grpc.PipelineServiceStub(channel)  # type: ignore[no-untyped-call]
        # Behind those that wait, so they have begun when it is answered.
        await stub.inference(pb.Request(), timeout=PATIENCE_S, wait_for_ready=True)
    await server.stop(0)
    assert calls.begun <= MOST_BEGUN
