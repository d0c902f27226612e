"""OpenTelemetry spans, where its packages are installed and an exporter's address is set.

    request                      service, protocol, outcome; child of the caller's traceparent
      ├── queue                  from admission until a worker took the first of its images
      └── predict                the worker's run of the batch; seconds of decode and predict

Read here: OTEL_EXPORTER_OTLP_ENDPOINT (or _TRACES_ENDPOINT) or OTEL_TRACES_EXPORTER=otlp turns it
on; OTEL_EXPORTER_OTLP_PROTOCOL (or _TRACES_PROTOCOL) is grpc, the default, or http/protobuf.
OpenTelemetry's own code for these two choices is private. Its exporters and its SDK read the other
variables of https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/,
except OTEL_PROPAGATORS: the caller's span comes in traceparent.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
import os
import sys
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

from ..engine.report import BatchReport
from .request_log import RequestLine

if TYPE_CHECKING:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SpanExporter

logger = logging.getLogger(__name__)

_CLOSE_LIMIT_S = 3.0
# A variable for traces has priority over the one for all signals.
_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
_NO_PROXY = frozenset({"no_proxy", "NO_PROXY", "no_grpc_proxy"})
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_EXPORTER = "OTEL_TRACES_EXPORTER"
# By protocol: the module of its exporter, and how that is installed.
_PACKAGES = {
    "grpc": (
        "opentelemetry.exporter.otlp.proto.grpc.trace_exporter",
        "-e '.[tracing]'",
    ),
    "http/protobuf": (
        "opentelemetry.exporter.otlp.proto.http.trace_exporter",
        "-e '.[tracing]' opentelemetry-exporter-otlp-proto-http",
    ),
}
# The span of the request that is being served; the engine keeps a request's context.
_current: ContextVar[trace.Span | None] = ContextVar("span", default=None)


class Span(Protocol):
    """The span of one request."""

    def end(self, line: RequestLine) -> None:
        """The request has its reply."""
        ...


class Tracing:
    """Traces nothing: what there is without OpenTelemetry."""

    def begin(self, _protocol: str, _trace_parent: str | None) -> Span:
        """Begin the span of a request; `trace_parent` as in https://www.w3.org/TR/trace-context/."""
        return _NO_SPAN

    def batch_done(self, report: BatchReport) -> None:
        """Add where their time went to the requests of a batch."""

    async def close(self) -> None:
        """Send what is left."""


class _NoSpan:
    def end(self, _line: RequestLine) -> None:
        pass


_NO_SPAN = _NoSpan()


class OpenTelemetryTracing(Tracing):
    """Traces with OpenTelemetry's SDK."""

    def __init__(self, exporter: SpanExporter) -> None:
        from opentelemetry.sdk.resources import OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        # `create` prefers its argument to the environment, which may give a name in
        # OTEL_SERVICE_NAME or in OTEL_RESOURCE_ATTRIBUTES.
        named = "service.name" in OTELResourceDetector().detect().attributes
        resource = Resource.create({} if named else {"service.name": "paddle-serving-kit"})
        self._provider: TracerProvider = TracerProvider(resource=resource)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("paddle-serving-kit")

    def begin(self, protocol: str, trace_parent: str | None) -> Span:
        """Begin a server span and make it the current one of this task."""
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        carrier = {"traceparent": trace_parent} if trace_parent else {}
        context = TraceContextTextMapPropagator().extract(carrier)
        span = self._tracer.start_span("classify", context, SpanKind.SERVER)
        if protocol == "rpc":
            span.set_attribute("rpc.system", "grpc")
        else:
            span.set_attribute("http.request.method", "POST")
        _current.set(span)
        return _OpenSpan(span)

    def batch_done(self, report: BatchReport) -> None:
        """Add the spans of queue and worker to each request of the batch, once a request."""
        from opentelemetry.trace import set_span_in_context

        now_ns = time.time_ns()
        taken_ns = now_ns - round(1e9 * report.run_s)
        seen = set()
        for wait_s, context in zip(report.waits_s, report.contexts, strict=True):
            parent = context.get(_current)
            if parent is None or parent in seen:
                continue
            seen.add(parent)
            inside = set_span_in_context(parent)
            queue = self._tracer.start_span(
                "queue", inside, start_time=taken_ns - round(1e9 * wait_s)
            )
            queue.end(taken_ns)
            predict = self._tracer.start_span("predict", inside, start_time=taken_ns)
            predict.set_attribute("serving.batch_size", len(report.waits_s))
            for stage, seconds in report.stages_s.items():
                predict.set_attribute(f"serving.{stage}_seconds", seconds)
            predict.end(now_ns)

    async def close(self) -> None:
        """Send what is left, for a few seconds at most: the collector may not be there."""
        sending = asyncio.to_thread(self._provider.shutdown)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(sending, _CLOSE_LIMIT_S)


class _OpenSpan:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    def end(self, line: RequestLine) -> None:
        from opentelemetry.trace import Status, StatusCode

        self._span.update_name(f"classify {line.service}")
        for name in ("service", "protocol", "outcome", "images", "log_id", "err_no"):
            self._span.set_attribute(f"serving.{name}", getattr(line, name))
        if line.outcome != "ok":
            self._span.set_status(Status(StatusCode.ERROR, line.outcome))
        self._span.end()


def tracing_from_environment() -> Tracing:
    """Return tracing as the OTEL_* variables request it; without OpenTelemetry there is none."""
    endpoint = _variable(*_ENDPOINTS, "")
    names = [name.strip() for name in _variable(_EXPORTER, "otlp" if endpoint else "").split(",")]
    for name in set(names) - {"otlp", "none", ""}:
        logger.warning("%s: %s is not served here, only otlp and none", _EXPORTER, name)
    protocol = _variable(*_PROTOCOLS, "grpc")
    if "otlp" not in names:
        return Tracing()
    if protocol not in _PACKAGES:
        choices = ", ".join(_PACKAGES)
        logger.warning(
            "nothing is traced: %s is %r; choose one of %s", _PROTOCOLS[1], protocol, choices
        )
        return Tracing()
    module, packages = _PACKAGES[protocol]
    _reach_this_machine_without_a_proxy()
    try:
        # It reads the other variables of the exporter itself.
        exporter: SpanExporter = importlib.import_module(module).OTLPSpanExporter()
    except ImportError:
        logger.warning(
            "OTEL_* variables request traces over %s, but OpenTelemetry is not installed for it, "
            "so nothing is traced; in the kit's folder: %s -m pip install %s",
            protocol,
            sys.executable,
            packages,
        )
        return Tracing()
    return OpenTelemetryTracing(exporter)


def _reach_this_machine_without_a_proxy() -> None:
    """Add this machine to the hosts that the exporters reach directly: a collector beside us.

    They take proxies from the environment only, and each reads other variables.
    """
    for name in {"no_proxy"} | _NO_PROXY.intersection(os.environ):
        given = os.environ.get(name) or os.environ.get(name.upper()) or ""
        added = [host for host in _THIS_MACHINE if host not in given.split(",")]
        os.environ[name] = ",".join(filter(None, (given, *added)))


def _variable(*names_and_default: str) -> str:
    """Return the first of these variables that is set to something; else the default, the last."""
    *names, default = names_and_default
    return next((value for name in names if (value := os.environ.get(name, "").strip())), default)
