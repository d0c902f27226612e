"""A gRPC server in the tests' process, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc.aio
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc.server import build_rpc_server


@pytest.fixture
async def channel(services: Services, observer: Observer) -> AsyncIterator[grpc.aio.Channel]:
    server = build_rpc_server(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        yield channel
    await server.stop(0)
