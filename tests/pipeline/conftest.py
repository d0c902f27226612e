"""A classifying engine without processes, so that the hosts are tested alone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from pipeline.admission.services import Services
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.observation.request_log import RequestLog
from pipeline.observation.tracing import Tracing
from protocol.errors import ServingError, UndecodableImage
from protocol.reply import Category, ImageResult
from protocol.request import EncodedImage


class FakeEngine:
    """Labels a picture with its own bytes; `bad...` cannot be decoded; keeps what was asked."""

    def __init__(self) -> None:
        self.ready = True
        self.asked: list[dict[str, Any]] = []
        self.error: BaseException | None = None
        self.delay_s = 0.0
        self.release: asyncio.Event | None = None
        self.cancelled = 0

    async def classify(self, images: Sequence[EncodedImage], **options: Any) -> list[ImageResult]:
        first = images[0]
        self.asked.append({**options, "topk": first.topk, "threshold": first.threshold})
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
