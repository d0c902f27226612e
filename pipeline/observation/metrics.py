"""What Prometheus sees: counters and histograms of one service process (docs/monitoring.md).

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters. Every
label has a bounded set of values; what a caller makes up never becomes one.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..engine.report import BatchReport
from ..engine.status import EngineStatus, WorkerState

# A timestamp for each series, in a series of its own: twice as many, and nobody reads them.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Told(Protocol):
    """What is collected from an engine when somebody asks."""

    def status(self) -> EngineStatus:
        """Return queue, workers and counters as they are now."""
        ...


class Metrics:
    """The registry of this process; nothing global, so that tests and hosts have their own."""

    def __init__(self, version: str) -> None:
        self.registry = CollectorRegistry()
        self._engines: Callable[[], Mapping[str, Told]] = dict
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_EngineCollector(self))
        info = self._gauge("serving_build_info", "The version that runs; always 1.", "version")
        info.labels(version).set(1)
        self._requests = self._counter(
            "serving_requests_total", "Requests answered.", "service", "protocol", "outcome"
        )
        self._duration = self._histogram(
            "serving_request_duration_seconds",
            "From a request's first byte to its answer.",
            _SECONDS,
            "service",
            "protocol",
        )
        self._wait = self._histogram(
            "serving_queue_wait_seconds", "A picture's wait for a worker.", _SECONDS, "service"
        )
        self._decode = self._histogram(
            "serving_decode_duration_seconds",
            "Decoding and preprocessing of a batch.",
            _SECONDS,
            "service",
        )
        self._predict = self._histogram(
            "serving_predict_duration_seconds", "The model's run of a batch.", _SECONDS, "service"
        )
        self._size = self._histogram(
            "serving_batch_size_images", "Pictures in a batch.", _SIZES, "service"
        )
        self._reloads = self._counter("serving_reloads_total", "Reloads asked for.", "outcome")
        self._reloaded = self._gauge(
            "serving_last_reload_success_timestamp_seconds", "When the last reload succeeded."
        )

    def watch(self, engines: Callable[[], Mapping[str, Told]]) -> None:
        """Collect from the engines that `engines` returns, each time anew."""
        self._engines = engines

    @property
    def engines(self) -> Mapping[str, Told]:
        """The engines that are collected from."""
        return self._engines()

    def request_done(self, service: str, protocol: str, outcome: str, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(service, protocol, outcome).inc()
        self._duration.labels(service, protocol).observe(seconds)

    def batch_done(self, service: str, report: BatchReport) -> None:
        """Count one batch."""
        wait = self._wait.labels(service)
        for wait_s in report.waits_s:
            wait.observe(wait_s)
        self._size.labels(service).observe(len(report.waits_s))
        if "decode" in report.stages_s:
            self._decode.labels(service).observe(report.stages_s["decode"])
        # None of its pictures may have come to the model: no time was taken then, not a short one.
        if predict_s := report.stages_s.get("predict"):
            self._predict.labels(service).observe(predict_s)

    def reload_done(self, *, succeeded: bool) -> None:
        """Count one reload."""
        self._reloads.labels("succeeded" if succeeded else "failed").inc()
        if succeeded:
            self._reloaded.set_to_current_time()

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: Iterable[float], *labels: str) -> Histogram:
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)


class _EngineCollector(Collector):
    """Reads the engines when Prometheus asks, so that serving pays nothing for it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        images = CounterMetricFamily(
            "serving_images", "Pictures settled.", labels=["service", "outcome"]
        )
        retried = CounterMetricFamily(
            "serving_image_retries", "Pictures tried again.", labels=["service"]
        )
        restarts = CounterMetricFamily(
            "serving_worker_restarts", "Workers started again.", labels=["service"]
        )
        waiting = GaugeMetricFamily("serving_queue_images", "Pictures waiting.", labels=["service"])
        size = GaugeMetricFamily(
            "serving_queue_limit_images", "Pictures that may wait.", labels=["service"]
        )
        requests = GaugeMetricFamily(
            "serving_open_requests", "Requests waiting or computed.", labels=["service"]
        )
        workers = GaugeMetricFamily("serving_workers", "Workers.", labels=["service", "state"])
        ready = GaugeMetricFamily(
            "serving_ready", "Whether the service can answer.", labels=["service"]
        )
        for name, engine in self._metrics.engines.items():
            status = engine.status()
            counters = status.counters
            for outcome in ("answered", "failed", "expired", "abandoned", "rejected"):
                images.add_metric([name, outcome], getattr(counters, outcome))
            retried.add_metric([name], counters.retried)
            restarts.add_metric([name], counters.restarts)
            waiting.add_metric([name], status.waiting)
            size.add_metric([name], status.queue_size)
            requests.add_metric([name], status.open_requests)
            ready.add_metric([name], status.ready)
            states = Tally(worker.state for worker in status.workers)
            for state in WorkerState:
                workers.add_metric([name, state.value], states[state])
        return (images, retried, restarts, waiting, size, requests, workers, ready)
