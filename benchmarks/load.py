"""`python -m benchmarks.load`: sends images over many connections and checks every reply.

Written to cost little, since it runs on the cores it measures: requests are built beforehand, and
a reply that was checked once is known by its bytes. Each connection sends its next image when it
has the reply to its last.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import uvloop

from protocol.key_value.received import reply_from_message
from protocol.key_value.request import request_to_proto
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest, encoded

from .http_forms import HTTP_FORMS, http_message

METHOD = "/baidu.paddle_serving.pipeline_serving.PipelineService/inference"
HEALTH_EVERY_S = 0.1
FAILED_PAUSE_S = 0.05
# A pool of its own for each channel: otherwise gRPC sends all of them over one connection. A proxy
# of the environment must not come between.
LOCAL_CHANNEL = (("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0))

Exchange = Callable[[int], Awaitable[bytes]]


@dataclass
class Order:
    """What to send, and where; `scores` are the right ones, a list of classes per image.

    A score that is `tolerance` off is right: batches of other sizes round differently. `protocol`
    is "rpc" or a name of `HTTP_FORMS`; `path` is that of the HTTP requests ("": the service's own).
    Health is not watched if `http_port` is 0. `labels` are those of the classes, for replies
    that have no numbers.
    """

    protocol: str
    host: str
    port: int
    http_port: int
    service: str
    connections: int
    seconds: float
    images: list[str]
    scores: list[list[float]]
    tolerance: float = 1e-4
    path: str = ""
    labels: list[str] = field(default_factory=list)


@dataclass
class Outcome:
    """The measurements; latencies in milliseconds, `difference` the largest of a right score."""

    requests_per_s: float = 0.0
    wrong: int = 0
    failed: int = 0
    latency_p50_ms: float = 0.0
    latency_p99_ms: float = 0.0
    health_max_ms: float = 0.0
    difference: float = 0.0
    errors: list[str] = field(default_factory=list)


class Checker:
    """Checks replies; a body that was right once is not read again."""

    def __init__(
        self,
        scores: list[list[float]],
        read: Callable[[bytes], ClassifyReply],
        tolerance: float,
    ) -> None:
        self._scores = scores
        self._tolerance = tolerance
        self._read = read
        self._known: set[tuple[int, bytes]] = set()
        self.difference = 0.0

    @property
    def images(self) -> int:
        """How many images there are."""
        return len(self._scores)

    def right(self, image: int, body: bytes) -> bool:
        """Return whether `body` is the right reply for image number `image`."""
        if (image, body) in self._known:
            return True
        scores = self._scores[image]
        best = self._read(body).results[0]
        if isinstance(best, Exception) or not best:
            return False
        if not all(0 <= c.class_id < len(scores) for c in best):
            return False
        difference = max(abs(scores[c.class_id] - c.score) for c in best)
        good = difference < self._tolerance and best[0].score > max(scores) - self._tolerance
        if good:
            self.difference = max(self.difference, difference)
            self._known.add((image, body))
        return good


async def send(order: Order, images: list[bytes]) -> Outcome:
    """Load the service for `order.seconds` and return what was measured."""
    rpc = order.protocol == "rpc"
    read = reply_from_message if rpc else HTTP_FORMS[order.protocol].reader(order.labels)
    checker = Checker(order.scores, read, order.tolerance)
    connect = _connect_rpc if rpc else _connect_http
    exchanges = [await connect(order, images) for _ in range(order.connections)]
    outcome, latencies = Outcome(), []
    until = time.perf_counter() + order.seconds
    health = asyncio.create_task(_watch_health(order, outcome, until)) if order.http_port else None

    async def connection(number: int, exchange: Exchange) -> None:
        image = number * 7
        while (started := time.perf_counter()) < until:
            image = (image + 1) % len(images)
            try:
                body = await exchange(image)
                latencies.append(time.perf_counter() - started)
                outcome.wrong += not checker.right(image, body)
            except Exception as error:  # noqa: BLE001 - every failure is counted and shown
                outcome.failed += 1
                outcome.errors = [*outcome.errors[-4:], f"{type(error).__name__}: {error}"]
                await asyncio.sleep(FAILED_PAUSE_S)

    begun = time.perf_counter()
    await asyncio.gather(*(connection(i, exchange) for i, exchange in enumerate(exchanges)))
    elapsed = time.perf_counter() - begun
    if health:
        await health
    latencies.sort()
    outcome.difference = checker.difference
    outcome.requests_per_s = len(latencies) / elapsed
    if latencies:
        outcome.latency_p50_ms = 1e3 * latencies[len(latencies) // 2]
        outcome.latency_p99_ms = 1e3 * latencies[int(len(latencies) * 0.99)]
    return outcome


async def _connect_http(order: Order, images: list[bytes]) -> Exchange:
    streams: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    path = order.path or f"/{order.service}/prediction"
    messages = [http_message(path, *HTTP_FORMS[order.protocol].body(image)) for image in images]

    async def connect() -> None:
        streams[:] = [await asyncio.open_connection(order.host, order.port, limit=2**20)]

    async def exchange(image: int) -> bytes:
        if not streams:
            await connect()
        # The stream comes back when its reply was read whole: after a failure it is not used again.
        reader, writer = streams.pop()
        writer.write(messages[image])
        head, body = await _read_http(reader)
        if b"connection: close" in head.lower():
            writer.close()
        else:
            streams.append((reader, writer))
        if b" 200 " not in head.partition(b"\r\n")[0]:
            raise RuntimeError(body.decode(errors="replace"))
        return body

    await connect()
    return exchange


async def _read_http(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    _, found, length = head.lower().partition(b"content-length:")
    if found:
        return head, await reader.readexactly(int(length.partition(b"\r\n")[0]))
    parts = []
    while size := int(await reader.readuntil(b"\r\n"), 16):
        parts.append((await reader.readexactly(size + 2))[:-2])
    await reader.readuntil(b"\r\n")
    return head, b"".join(parts)


async def _connect_rpc(order: Order, images: list[bytes]) -> Exchange:
    channel = grpc.aio.insecure_channel(f"{order.host}:{order.port}", options=LOCAL_CHANNEL)
    call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(METHOD)
    requests = [ClassifyRequest(encoded([image]), order.service) for image in images]
    messages = [request_to_proto(request).SerializeToString() for request in requests]

    async def exchange(image: int) -> bytes:
        return bytes(await call(messages[image], timeout=60))

    return exchange


async def _watch_health(order: Order, outcome: Outcome, until: float) -> None:
    """Exchange for health all the while, on a connection of its own, as a container engine does."""
    reader, writer = await asyncio.open_connection(order.host, order.http_port)
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(b"GET /health/live HTTP/1.1\r\nHost: benchmark\r\n\r\n")
        await _read_http(reader)
        taken = 1e3 * (time.perf_counter() - started)
        outcome.health_max_ms = max(outcome.health_max_ms, taken)
        await asyncio.sleep(HEALTH_EVERY_S)
    writer.close()


def main() -> None:
    """Read an order from standard input, print the outcome; both are JSON."""
    fields: dict[str, Any] = json.load(sys.stdin)
    order = Order(**fields)
    images = [Path(name).read_bytes() for name in order.images]
    outcome = uvloop.run(send(order, images))
    print(json.dumps(asdict(outcome)))


if __name__ == "__main__":
    main()
