"""What Prometheus sees: counters and histograms of one service process (docs/monitoring.md).

Names follow https://prometheus.io/docs/practices/naming/: base units, `_total` for counters. Every
label has a bounded set of values; text from a caller never becomes one.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping
from operator import attrgetter
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

# They double the number of series.
disable_created_metrics()  # type: ignore[no-untyped-call]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1, 2.5, 5, 10)
# Further ones, up to the longest timeout of the configuration.
_MORE_SECONDS = (20, 30, 60, 120, 300, 600, 1800, 3600, 7200)
# Most names of API keys that become labels in the life of a process; a file may have any number.
_MAX_KEYS = 200
OTHER_KEYS = "other"
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class HasStatus(Protocol):
    """What metrics need of an engine."""

    def status(self) -> EngineStatus:
        """Return queue, workers and counters as they are now."""
        ...


class Metrics:
    """The registry of this process; nothing global, so that tests and hosts have their own.

    Its histograms of seconds reach `longest_s`, the longest timeout of a service.
    """

    def __init__(self, version: str, longest_s: float = 0.0) -> None:
        self.registry = CollectorRegistry()
        self._engines: Callable[[], Mapping[str, HasStatus]] = dict
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        self.registry.register(_EngineCollector(self))
        info = self._gauge("serving_build_info", "The version that runs; always 1.", "version")
        info.labels(version).set(1)
        self._requests = self._counter(
            "serving_requests_total", "Requests with a reply.", "service", "protocol", "outcome"
        )
        self._keyed = self._counter(
            "serving_api_key_requests_total",
            "Requests by the name of their API key.",
            *("key", "service", "outcome"),
        )
        self._keys: set[str] = set()
        self._buckets: tuple[float, ...] = ()
        self._seconds: dict[str, Histogram] = {}
        self.reach(longest_s)
        self._size = self._histogram("serving_batch_size_images", "Images in a batch.", _SIZES)
        self._reloads = self._counter("serving_reloads_total", "Reloads requested.", "outcome")
        self._reloaded = self._gauge(
            "serving_last_reload_success_timestamp_seconds", "When the last reload succeeded."
        )

    def watch(self, engines: Callable[[], Mapping[str, HasStatus]]) -> None:
        """Collect from the engines that `engines` returns, each time anew."""
        self._engines = engines

    def reach(self, longest_s: float) -> None:
        """Have the histograms of seconds reach `longest_s`.

        Where they do not yet, they begin anew: to Prometheus that is as a restart, which `rate` and
        `increase` expect.
        """
        buckets = _buckets(longest_s)
        if self._buckets and buckets[-1] <= self._buckets[-1]:
            return
        self._buckets = buckets
        for histogram in self._seconds.values():
            self.registry.unregister(histogram)
        for name, (metric, text, labels) in _TIMES.items():
            self._seconds[name] = self._histogram(metric, text, buckets, *labels)

    @property
    def engines(self) -> Mapping[str, HasStatus]:
        """The engines that are collected from."""
        return self._engines()

    def request_done(self, service: str, protocol: str, outcome: str, seconds: float) -> None:
        """Count one request."""
        self._requests.labels(service, protocol, outcome).inc()
        self._seconds["request"].labels(service, protocol).observe(seconds)

    def keyed_request_done(self, key: str, service: str, outcome: str) -> None:
        """Count one request of the API key of this name; of too many names under one label."""
        if key not in self._keys:
            if len(self._keys) >= _MAX_KEYS:
                key = OTHER_KEYS
            self._keys.add(key)
        self._keyed.labels(key, service, outcome).inc()

    def batch_done(self, service: str, report: BatchReport) -> None:
        """Count one batch."""
        wait = self._seconds["wait"].labels(service)
        for wait_s in report.waits_s:
            wait.observe(wait_s)
        self._size.labels(service).observe(len(report.waits_s))
        if "decode" in report.stages_s:
            self._seconds["decode"].labels(service).observe(report.stages_s["decode"])
        # No image of the batch may have reached the model: then there is no time, not a short one.
        if predict_s := report.stages_s.get("predict"):
            self._seconds["predict"].labels(service).observe(predict_s)

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
        labels = labels or ("service",)
        return Histogram(name, text, labels, buckets=tuple(buckets), registry=self.registry)


# Histograms of seconds: metric, text, labels.
_TIMES = {
    "request": (
        "serving_request_duration_seconds",
        "From a request's first byte to its reply.",
        ("service", "protocol"),
    ),
    "wait": ("serving_queue_wait_seconds", "An image's wait for a worker.", ("service",)),
    "decode": (
        "serving_decode_duration_seconds",
        "Decoding and preprocessing of a batch.",
        ("service",),
    ),
    "predict": ("serving_predict_duration_seconds", "The model's run of a batch.", ("service",)),
}


def _buckets(longest_s: float) -> tuple[float, ...]:
    """Return the upper bounds of the buckets, in seconds; `longest_s` is one of them if above."""
    if longest_s <= _SECONDS[-1]:
        return _SECONDS
    return (*_SECONDS, *(bound for bound in _MORE_SECONDS if bound < longest_s), longest_s)


# Families of one value for each service: name, text, where it is found in an engine's status.
_VALUES = (
    (CounterMetricFamily, "serving_image_retries", "Images tried again.", "counters.retried"),
    (CounterMetricFamily, "serving_worker_restarts", "Workers restarted.", "counters.restarts"),
    (GaugeMetricFamily, "serving_queue_images", "Images waiting.", "waiting"),
    (GaugeMetricFamily, "serving_queue_limit_images", "Images that may wait.", "queue_size"),
    (GaugeMetricFamily, "serving_open_requests", "Requests waiting or computed.", "open_requests"),
    (GaugeMetricFamily, "serving_best_batch_images", "Best size of a batch.", "best_batch"),
    (GaugeMetricFamily, "serving_ready", "Whether the service can reply.", "ready"),
)
_OUTCOMES = ("answered", "failed", "expired", "abandoned", "rejected")


class _EngineCollector(Collector):
    """Reads the engines when Prometheus collects, so that serving pays nothing for it."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        statuses = {name: engine.status() for name, engine in self._metrics.engines.items()}
        for family, metric, text, path in _VALUES:
            values = family(metric, text, labels=["service"])
            for name, status in statuses.items():
                values.add_metric([name], attrgetter(path)(status))
            yield values
        images = CounterMetricFamily(
            "serving_images", "Images by outcome.", labels=["service", "outcome"]
        )
        workers = GaugeMetricFamily("serving_workers", "Workers.", labels=["service", "state"])
        rates = GaugeMetricFamily(
            "serving_batch_images_per_second",
            "Images a second of one worker, by the size of the batch.",
            labels=["service", "batch"],
        )
        for name, status in statuses.items():
            for size, rate in status.images_per_s.items():
                rates.add_metric([name, str(size)], rate)
            for outcome in _OUTCOMES:
                images.add_metric([name, outcome], getattr(status.counters, outcome))
            states = Tally(worker.state for worker in status.workers)
            for state in WorkerState:
                workers.add_metric([name, state.value], states[state])
        yield from (images, workers, rates)
