"""A classifying engine without processes, so that the hosts are tested alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from blockbuster import blockbuster_ctx

from pipeline.admission.services import Services
from pipeline.changes import Changes
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.observation.request_log import RequestLog
from pipeline.observation.tracing import Tracing
from protocol.errors import ServingError, UndecodableImage
from protocol.reply import Category, ImageResult
from protocol.request import EncodedImage

HERE = Path(__file__).resolve().parent
# The rooms whose code runs in the event loop of the service.
LOOP_ROOMS = ("admission", "engine", "hosts", "observation", "rpc", "web")
# Metrics and logs take locks for microseconds; the working folder is in memory.
HARMLESS = ("threading.Lock.acquire", "os.getcwd", "os.path.abspath")
# Calls that block for a moment by intention: function -> file and function that make it.
DELIBERATE = {
    # A start of a worker process waits until the program has replaced its fork: milliseconds.
    "os.read": [("subprocess.py", "_execute_child")],
    "io.BufferedReader.read": [
        # The files of a certificate have some kilobytes; they are read at a start and at a reload.
        ("pipeline/admission/tls.py", "_read"),
        # Tests of hosts read a configuration where they please; a reload reads it in a thread.
        ("pipeline/settings/config.py", "load_settings"),
        # Prometheus' client reads /proc/self, which is in memory.
        ("pipeline/observation/metrics.py", "exposition"),
    ],
    "os.listdir": [
        ("pipeline/observation/metrics.py", "exposition"),
        ("tests/pipeline/web/test_server.py", "descriptors"),  # /proc again
    ],
    # Tests of hosts read a configuration where they please; a reload reads it in a thread.
    "io.TextIOWrapper.read": [("pipeline/settings/config.py", "load_settings")],
    "os.stat": [("pipeline/settings/config.py", "load_settings")],
}


class FakeEngine:
    """Labels an image with its own bytes; `bad...` cannot be decoded; keeps what was requested.

    `looks` counts how often `ready` was read.
    """

    def __init__(self) -> None:
        self._ready = True
        self.looks = 0
        self._changes = Changes()
        self.on_change = self._changes.subscribe
        self.timeout_s: float | None = None
        self.requests: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.delay_s = 0.0
        self.release: asyncio.Event | None = None
        self.cancelled = 0

    @property
    def ready(self) -> bool:
        self.looks += 1
        return self._ready

    @ready.setter
    def ready(self, ready: bool) -> None:
        self._ready = ready
        self._changes.notify()

    async def classify(self, images: Sequence[EncodedImage], **options: Any) -> list[ImageResult]:
        first = images[0]
        self.requests.append({**options, "topk": first.topk, "threshold": first.threshold})
        try:
            await asyncio.sleep(self.delay_s)
            if self.release is not None:
                await self.release.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if self.error is not None:
            raise self.error
        return [self._one(image.data) for image in images]

    def _one(self, image: bytes) -> ImageResult:
        if image.startswith(b"bad"):
            return UndecodableImage("this looks like text")
        return (Category(1, image.decode("latin-1"), 0.5),)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("1.2.3")


@pytest.fixture
def observer(metrics: Metrics) -> Observer:
    return Observer(metrics, RequestLog(5), Tracing())


@pytest.fixture
def services(engine: FakeEngine) -> Services:
    services = Services({"waste": engine}, max_images=4)
    services.phase = "ready"
    return services


__all__ = ["FakeEngine", "ServingError"]


@pytest.fixture(autouse=True)
def _event_loop_is_never_blocked(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test in which code of ours makes a blocking call in a thread that runs an event loop.

    Tests themselves may block: only calls with a module of `pipeline` on their stack are examined.
    """
    if request.path.relative_to(HERE).parts[0] not in LOOP_ROOMS:
        yield
        return
    with blockbuster_ctx(scanned_modules=["pipeline"]) as guard:
        for name in HARMLESS:
            guard.functions[name].deactivate()
        for function, allowed in DELIBERATE.items():
            for file, name in allowed:
                guard.functions[function].can_block_in(file, name)
        yield
