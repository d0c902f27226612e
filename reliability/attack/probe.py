"""`python -m reliability.attack.probe HTTP_PORT RPC_PORT SERVICE`: honest callers beside an attack.

A process of its own, because the process that attacks would measure its own delays. It requests
health ten times a second on one connection, and predictions with a deadline of their own: over HTTP
on a new connection each, over RPC on one. For each reply it prints a line of JSON. The key is in
PADDLE_SERVING_KIT_API_KEY.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
from base64 import b64encode

import grpc
import grpc.aio

from protocol.errors import ServingError, wire_codes
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.received import reply_from_json, reply_from_proto
from protocol.reply import ClassifyReply

from ..wire import HOST, METHOD, HttpConnection, HttpMessage, NoReplyError
from .access import IMAGE

HEALTH_EVERY_S = 0.1
HONEST_EVERY_S = 0.3
# The caller's own deadline, and how long after it a reply may come on a busy machine.
DEADLINE_S = 2.5
GRACE_S = 1.0
PATIENCE_S = 8.0
HEALTH, HTTP, RPC = "health", "http", "rpc"
RIGHT, REFUSED, LATE, LOST = "right", "refused", "late", "lost"


def _print(what: str, began: float, outcome: str, reason: str = "") -> None:
    taken_ms = round(1e3 * (time.monotonic() - began), 2)
    if outcome in (RIGHT, REFUSED) and what != HEALTH and taken_ms > 1e3 * (DEADLINE_S + GRACE_S):
        outcome, reason = LATE, f"{taken_ms:.0f} ms"
    fields = {"what": what, "began": began, "ms": taken_ms, "outcome": outcome, "reason": reason}
    print(json.dumps(fields), flush=True)


async def _health(port: int) -> None:
    connection = HttpConnection(port)
    while True:
        began = time.monotonic()
        try:
            message = HttpMessage("/health/live", b"", method="GET")
            status, _ = await connection.exchange(message, PATIENCE_S)
            _print(HEALTH, began, RIGHT if status == 200 else REFUSED, str(status))
        except NoReplyError as error:
            _print(HEALTH, began, LOST, str(error))
        await asyncio.sleep(HEALTH_EVERY_S)


async def _over_http(port: int, service: str, image: bytes, key: str) -> None:
    fields = [("Content-Type", "image/jpeg"), ("X-Request-Timeout", f"{DEADLINE_S:g}")]
    if key:
        fields.append(("Authorization", f"Bearer {key}"))
    message = HttpMessage(f"/{service}/prediction", image, tuple(fields))
    while True:
        began = time.monotonic()
        connection = HttpConnection(port)
        try:
            _, body = await connection.exchange(message, PATIENCE_S)
            _print(HTTP, began, *_outcome(reply_from_json(body)))
        except ServingError as error:
            _print(HTTP, began, *_outcome(error))
        except NoReplyError as error:
            _print(HTTP, began, LOST, str(error))
        await connection.close()
        await asyncio.sleep(HONEST_EVERY_S)


async def _over_rpc(port: int, service: str, image: bytes, key: str) -> None:
    request = pb.Request(
        name=service, key=["image"], value=[b64encode(image).decode()]
    ).SerializeToString()
    metadata = (("authorization", f"Bearer {key}"),) if key else ()
    options = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel(f"{HOST}:{port}", options=options) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
        while True:
            began = time.monotonic()
            try:
                # gRPC itself ends the call at this time: the service has no more of it.
                body = await call(request, timeout=DEADLINE_S, metadata=metadata)
                _print(RPC, began, *_outcome(reply_from_proto(pb.Response.FromString(body))))
            except ServingError as error:
                _print(RPC, began, *_outcome(error))
            except grpc.aio.AioRpcError as error:
                # CANCELLED: the queue of calls in gRPC is full (SECURITY.md).
                ours = error.code() in (
                    grpc.StatusCode.DEADLINE_EXCEEDED,
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    grpc.StatusCode.CANCELLED,
                )
                taken_s = time.monotonic() - began
                reason = f"{error.code().name}: {error.details()} after {taken_s:.2f} s"
                _print(RPC, began, REFUSED if ours else LOST, reason)
            await asyncio.sleep(HONEST_EVERY_S)


def _outcome(reply: ClassifyReply | ServingError) -> tuple[str, str]:
    if isinstance(reply, ServingError):
        return REFUSED, str(wire_codes(reply).err_no)
    (result,) = reply.results
    if isinstance(result, ServingError):
        return REFUSED, str(wire_codes(result).err_no)
    return RIGHT, ""


async def _main(http_port: int, rpc_port: int, service: str) -> None:
    image = IMAGE.read_bytes()
    key = os.environ.get("PADDLE_SERVING_KIT_API_KEY", "")
    await asyncio.gather(
        _health(http_port),
        _over_http(http_port, service, image, key),
        _over_rpc(rpc_port, service, image, key),
    )


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))
