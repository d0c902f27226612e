"""SIGTERM under load over RPC: each call is answered, refused with 3001, or finds no service."""

from __future__ import annotations

import threading
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest

from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.patience import PATIENCE_S


@pytest.mark.slow
@pytest.mark.parametrize("shared", [True, False], ids=["one connection", "a connection each"])
def test_no_rpc_call_is_cancelled_by_a_stop(
    start_any_service: Any, tiny_config: Path, images: list[bytes], shared: bool
) -> None:
    outcomes: Counter[Any] = Counter()
    gone = threading.Event()
    request = pb.Request(tensors=[pb.Tensor(name="image", byte_data=images[0])])

    def call(channel: grpc.Channel) -> None:
        stub = pb_grpc.PipelineServiceStub(channel)  # type: ignore[no-untyped-call]
        while not gone.is_set():
            try:
                outcomes[stub.inference(request, timeout=PATIENCE_S).err_no] += 1
            except grpc.RpcError as error:
                outcomes[error.code()] += 1
                gone.wait(0.01)

    with start_any_service(tiny_config, "op.waste.concurrency=1") as service:
        options = [] if shared else [("grpc.use_local_subchannel_pool", 1)]
        channels = [grpc.insecure_channel(service.endpoint, options=options) for _ in range(8)]
        callers = [threading.Thread(target=call, args=(channel,)) for channel in channels]
        for caller in callers:
            caller.start()
        while outcomes[0] < 50:
            gone.wait(0.01)
        assert service.stop() == 0
        gone.set()
        for caller in callers:
            caller.join()
        for channel in channels:
            channel.close()
        assert not [line for line in service.err if "chttp2" in line or "posix" in line]
    assert set(outcomes) <= {0, 3001, grpc.StatusCode.UNAVAILABLE}, outcomes
