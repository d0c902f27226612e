from __future__ import annotations

import logging
import os
import sys
from types import ModuleType
from typing import Any

import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.observation.request_log import RequestLog
from pipeline.observation.tracing import OpenTelemetryTracing, Tracing, tracing_from_environment
from pipeline.web.app import build_http_app

trace_export = pytest.importorskip(
    "opentelemetry.sdk.trace.export.in_memory_span_exporter", reason="needs the extra tracing"
)

SpanExportResult = pytest.importorskip("opentelemetry.sdk.trace.export").SpanExportResult

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture
def exporter() -> Any:
    return trace_export.InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: Any) -> OpenTelemetryTracing:
    return OpenTelemetryTracing(exporter)


async def post(services: Services, tracing: Tracing, content: bytes = b"cat") -> httpx.Response:
    app = build_http_app(
        Desk(services, Observer(Metrics("1"), RequestLog(0), tracing), Inflight(2000)),
        max_body_bytes=2000,
    )
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://t") as http:
        headers = {"Content-Type": "image/png", "traceparent": PARENT}
        return await http.post("/waste/prediction?logid=7", content=content, headers=headers)


async def test_a_request_is_a_child_of_its_callers_span(
    services: Services, tracing: OpenTelemetryTracing, exporter: Any
) -> None:
    await post(services, tracing)
    await post(services, tracing, b"bad")
    await tracing.close()
    good, bad = exporter.get_finished_spans()
    assert good.name == "classify waste"
    assert format(good.context.trace_id, "032x") == TRACE_ID
    assert format(good.parent.span_id, "016x") == "00f067aa0ba902b7"
    assert good.attributes["serving.log_id"] == 7
    assert good.attributes["serving.outcome"] == "ok"
    assert good.status.is_ok
    assert bad.attributes["serving.outcome"] == "undecodable_image"
    assert not bad.status.is_ok


@pytest.fixture
def _no_otel(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)


@pytest.mark.usefixtures("_no_otel")
def test_without_an_address_nothing_is_traced() -> None:
    assert type(tracing_from_environment()) is Tracing


@pytest.mark.usefixtures("_no_otel")
def test_missing_packages_are_reported_and_stop_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.grpc.trace_exporter", None)
    with caplog.at_level(logging.WARNING):
        assert type(tracing_from_environment()) is Tracing
    assert "-m pip install -e '.[tracing]'" in caplog.text


@pytest.mark.usefixtures("_no_otel")
@pytest.mark.parametrize(
    ("environment", "name"),
    [
        ({}, "paddle-serving-kit"),
        ({"OTEL_SERVICE_NAME": ""}, "paddle-serving-kit"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=x"}, "paddle-serving-kit"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "team=x,service.name=mine"}, "mine"),
        ({"OTEL_SERVICE_NAME": "ours"}, "ours"),
        ({"OTEL_SERVICE_NAME": "ours", "OTEL_RESOURCE_ATTRIBUTES": "service.name=mine"}, "ours"),
    ],
)
async def test_the_environment_names_the_service(
    services: Services,
    exporter: Any,
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    name: str,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    tracing = OpenTelemetryTracing(exporter)
    await post(services, tracing)
    await tracing.close()
    (span,) = exporter.get_finished_spans()
    assert span.resource.attributes["service.name"] == name
    if "OTEL_RESOURCE_ATTRIBUTES" in environment and name != "ours":
        assert span.resource.attributes["team"] == "x"


@pytest.fixture
async def exporters(_no_otel: None, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The modules of both exporters, replaced by ones that send nothing."""
    made = {}
    for protocol in ("grpc", "http"):
        module = ModuleType(protocol)
        exporter = type("OTLPSpanExporter", (trace_export.InMemorySpanExporter,), {})
        module.OTLPSpanExporter = exporter  # type: ignore[attr-defined]
        name = f"opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter"
        monkeypatch.setitem(sys.modules, name.rpartition(".")[0], ModuleType(protocol))
        monkeypatch.setitem(sys.modules, name, module)
        made[protocol] = exporter
    return made


ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
HTTP = "http/protobuf"


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        (ENDPOINT, "grpc"),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:1"}, "grpc"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": HTTP}, "http"),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP}, "http"),
        (
            {
                **ENDPOINT,
                "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc",
                "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": HTTP,
            },
            "http",
        ),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, "grpc"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "otlp"}, "grpc"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, None),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, None),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": HTTP}, None),
    ],
)
async def test_the_environment_says_whether_and_how_traces_are_sent(
    exporters: dict[str, Any],
    services: Services,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environment: dict[str, str],
    wanted: str | None,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    sent: list[str] = []
    for protocol, exporter in exporters.items():

        def export(_self: object, _spans: object, protocol: str = protocol) -> Any:
            sent.append(protocol)
            return SpanExportResult.SUCCESS

        monkeypatch.setattr(exporter, "export", export)
    tracing = tracing_from_environment()
    await post(services, tracing)
    await tracing.close()
    assert sent == ([wanted] if wanted else [])
    assert not caplog.records


@pytest.mark.parametrize(
    ("environment", "reported"),
    [
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"}, "one of grpc, http/protobuf"),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "zipkin"}, "zipkin is not served here"),
    ],
)
@pytest.mark.usefixtures("exporters")
def test_what_cannot_be_traced_is_reported(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    environment: dict[str, str],
    reported: str,
) -> None:
    for variable, value in environment.items():
        monkeypatch.setenv(variable, value)
    assert type(tracing_from_environment()) is Tracing
    assert reported in caplog.text


@pytest.mark.usefixtures("_no_otel")
async def test_a_collector_that_is_not_there_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, services: Services, free_port: int
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{free_port}")
    tracing = tracing_from_environment()
    assert isinstance(tracing, OpenTelemetryTracing)
    assert (await post(services, tracing)).status_code == 200
    await tracing.close()  # the test's own limit would end a stop that waits for ever
