"""What a running service tells: status, metrics, gRPC health, logs, traces; and to whom."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from pipeline.__main__ import main as pipeline
from tests.patience import PATIENCE_S

JPEG = {"Content-Type": "image/jpeg"}
SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Run = Callable[..., subprocess.CompletedProcess[str]]


def test_the_status_command(tiny: Any, in_process: Run, root: Path, images: list[bytes]) -> None:
    with HttpClient(tiny.url) as http:
        http.classify(images[0])
    shown = in_process(pipeline, "status", "--url", tiny.admin, "--seconds", "0.1")
    assert (shown.returncode, shown.stderr) == (0, "")
    for cause in ("ready", "waste", "2 of 2 up", "0 of 256", "waste-0", "waste-1", "answered"):
        assert cause in shown.stdout
    # Lines with a path are not wrapped, so that it can be copied.
    assert max(len(line) for line in shown.stdout.splitlines() if "/" not in line) <= 80
    status = json.loads(in_process(pipeline, "status", "--url", tiny.admin, "--json").stdout)
    listed = [worker["pid"] for worker in status["services"][0]["workers"]]
    assert sorted(listed) == sorted(tiny.workers())  # they start at once, in any order


@pytest.mark.parametrize("path", ["", "/waste/prediction"])
def test_the_status_of_what_is_no_admin_address(tiny: Any, in_process: Run, path: str) -> None:
    shown = in_process(pipeline, "status", "--url", f"{tiny.url}{path}")
    assert shown.returncode == 2
    assert "admin address" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_latency_buckets_reach_the_timeout_of_the_configuration(tiny: Any) -> None:
    httpx.post(f"{tiny.url}/waste/prediction", content=b"no image", timeout=PATIENCE_S)
    lines = httpx.get(f"{tiny.admin}/metrics", timeout=PATIENCE_S).text
    bounds = re.findall(r'serving_request_duration_seconds_bucket\{le="([^"]+)"', lines)
    assert bounds[-4:] == ["20.0", "30.0", "60.0", "+Inf"]


def test_the_status_where_nobody_is(in_process: Run, free_port: int) -> None:
    shown = in_process(pipeline, "status", "--url", f"127.0.0.1:{free_port}")
    assert shown.returncode == 2
    assert f"no status from http://127.0.0.1:{free_port}" in shown.stderr
    assert "is the service running?" in shown.stderr
    assert "--url" in shown.stderr


def test_the_public_ports_tell_nothing_of_the_inside(tiny: Any) -> None:
    for path in ("/metrics", "/-/status", "/-/reload"):
        assert httpx.get(f"{tiny.url}{path}", timeout=PATIENCE_S).status_code in (404, 405)
        assert httpx.post(f"{tiny.url}{path}", timeout=PATIENCE_S).status_code in (404, 405)


def test_keys_of_the_environment_reach_no_worker_and_stay_at_a_reload(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    app_key = "0123456789abcdef0123"
    key = {"Authorization": f"Bearer {app_key}"}
    with start_any_service(
        tiny_config,
        "op.waste.concurrency=1",
        environment={"PADDLE_SERVING_KIT_API_KEYS": f"app: {app_key}"},
    ) as service:
        address = f"{service.url}/waste/prediction"
        for _ in range(2):
            assert (
                httpx.post(address, content=images[0], headers=JPEG, timeout=PATIENCE_S).status_code
                == 401
            )
            answer = httpx.post(
                address, content=images[0], headers={**JPEG, **key}, timeout=PATIENCE_S
            )
            assert answer.status_code == 200
            (worker,) = service.workers()
            assert app_key.encode() not in Path(f"/proc/{worker}/environ").read_bytes()
            core = Path(f"/proc/{worker}/limits").read_text().partition("Max core file size")[2]
            assert core.split()[:2] == ["0", "0"]
            httpx.post(f"{service.admin}/-/reload", timeout=PATIENCE_S).raise_for_status()
            wait_for(lambda: len(service.workers()) == 1)  # the old one ends on its own


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_metrics_count_what_clients_saw(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    with start_any_service(
        tiny_config,
        "op.waste.concurrency=1",
        "dag.enable_prometheus=true",
        "dag.prometheus_port=0",
    ) as service:
        with HttpClient(service.url) as http, RpcClient(service.endpoint) as rpc:
            for image in images[:3]:
                http.classify(image)
            rpc.classify(images[0])
        httpx.post(
            f"{service.url}/waste/prediction",
            content=b"no image",
            headers=JPEG,
            timeout=PATIENCE_S,
        )
        httpx.post(f"{service.url}/made/up", content=b"", timeout=PATIENCE_S)
        metrics = httpx.get(f"{service.admin}/metrics", timeout=PATIENCE_S).text
        alone = next(line.split()[1] for line in service.out if line.startswith("  metrics"))
        assert "serving_requests_total" in httpx.get(alone, timeout=PATIENCE_S).text
        assert (
            httpx.get(alone.replace("/metrics", "/-/status"), timeout=PATIENCE_S).status_code == 404
        )
    for line in (
        'serving_requests_total{outcome="ok",protocol="http",service="waste"} 3.0',
        'serving_requests_total{outcome="ok",protocol="rpc",service="waste"} 1.0',
        'serving_requests_total{outcome="undecodable_image",protocol="http",service="waste"} 1.0',
        'serving_requests_total{outcome="service_not_found",protocol="http",service="unknown"} 1.0',
        'serving_images_total{outcome="answered",service="waste"} 4.0',
        'serving_images_total{outcome="failed",service="waste"} 1.0',
        'serving_workers{service="waste",state="idle"} 1.0',
        'serving_queue_limit_images{service="waste"} 256.0',
        'serving_ready{service="waste"} 1.0',
        'serving_queue_wait_seconds_count{service="waste"} 5.0',
    ):
        assert line in metrics.splitlines(), line


@pytest.fixture
def channel(tiny: Any) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(tiny.endpoint) as opened:
        yield opened


def test_grpc_health(channel: grpc.Channel) -> None:
    stub = health_pb2_grpc.HealthStub(channel)
    for name in ("", "waste"):
        request = health_pb2.HealthCheckRequest(service=name)
        assert stub.Check(request, timeout=PATIENCE_S).status == SERVING
    with pytest.raises(grpc.RpcError) as caught:
        stub.Check(health_pb2.HealthCheckRequest(service="other"), timeout=PATIENCE_S)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    assert "waste" in caught.value.details()


def test_a_watcher_hears_of_the_stop(start_any_service: Any, tiny_config: Path) -> None:
    with (
        start_any_service(tiny_config, "op.waste.concurrency=1") as service,
        grpc.insecure_channel(service.endpoint) as channel,
    ):
        stub = health_pb2_grpc.HealthStub(channel)
        watching = stub.Watch(health_pb2.HealthCheckRequest(service="waste"), timeout=PATIENCE_S)
        assert next(watching).status == SERVING
        other = stub.Watch(health_pb2.HealthCheckRequest(service="other"), timeout=PATIENCE_S)
        assert next(other).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        assert service.stop() == 0
        assert [answer.status for answer in watching] == [NOT_SERVING]


def test_reflection_lists_the_services(channel: grpc.Channel) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(channel)
    question = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = stub.ServerReflectionInfo(iter([question]), timeout=PATIENCE_S)
    names = {service.name for service in answer.list_services_response.service}
    assert "baidu.paddle_serving.pipeline_serving.PipelineService" in names
    assert "grpc.health.v1.Health" in names


def test_a_request_has_one_line_of_json_with_its_log_id(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    secret = base64.b64encode(images[0]).decode()
    with start_any_service(
        tiny_config, "op.waste.concurrency=1", "log={level: info, format: json}"
    ) as service:
        body = {"key": ["image"], "value": [secret], "logid": 77}
        httpx.post(
            f"{service.url}/waste/prediction", json=body, timeout=PATIENCE_S
        ).raise_for_status()
        with RpcClient(service.endpoint) as rpc:
            rpc.classify(images[0], log_id=78)
        assert service.stop() == 0
    lines = [json.loads(line) for line in service.err]
    requests = [line for line in lines if line["logger"] == "pipeline.requests"]
    assert [(line["log_id"], line["protocol"], line["outcome"]) for line in requests] == [
        (77, "http", "ok"),
        (78, "rpc", "ok"),
    ]
    assert all(line["client"] == "127.0.0.1" and line["seconds"] > 0 for line in requests)
    assert not any(secret[:40] in line for line in service.err)


def test_callers_forge_no_line_and_make_no_flood_of_them(
    start_any_service: Any, root: Path, tiny_config: Path, images: list[bytes]
) -> None:
    floods = 300
    with start_any_service(tiny_config, "op.waste.concurrency=1", "log.level=info") as service:
        hostile = png_with_profile(
            b"a\n<3>\x1b[2K\r2026-11-27 00:00:00,000 ERROR root: forged\x1b[m"
        )
        httpx.post(
            f"{service.url}/waste/prediction", content=hostile, headers=JPEG, timeout=PATIENCE_S
        )
        for _ in range(floods):
            with socket.create_connection(
                ("127.0.0.1", service.http_port), timeout=PATIENCE_S
            ) as raw:
                raw.sendall(b"x\r\n\r\n")
                assert b" 400 " in raw.recv(4096)
        assert service.stop() == 0
    # A carriage return would end a line here too.
    begins = re.compile(r"\d{4}-\d\d-\d\d [\d:,]+ (?:INFO|WARNING) (?:pipeline|uvicorn)\.|    ")
    assert [line for line in service.err if not begins.match(line)] == []
    assert "\x1b" not in "".join(service.err)
    # What is no request is answered, and worth no line.
    assert len(service.err) < floods / 10


def png_with_profile(name: bytes) -> bytes:
    """An image with a colour profile of that name, and broken, so that libpng tells the name."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    png = cv2.imencode(".png", np.zeros((64, 64, 3), np.uint8))[1].tobytes()
    profile = chunk(b"iCCP", name + b"\0\0" + zlib.compress(b"no profile" * 500))
    return png[:33] + profile + png[33:]


EVERY_REQUEST_LOGGED = """
import sys
from pipeline.observation import request_log
request_log.LINES_A_SECOND = 100_000
from pipeline.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def start_with_stderr(root: Path, tiny_config: Path) -> Any:
    """Start a service that logs a line a request to a stream that nobody reads."""

    def start(stderr: int) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen(
            [
                sys.executable,
                "-c",
                EVERY_REQUEST_LOGGED,
                f"--config={tiny_config}",
                "--log-level=info",
            ]
            + [f"-o{key}=0" for key in ("http_port", "rpc_port")]
            + ["-ohost=127.0.0.1", "-oop.waste.concurrency=1"],
            cwd=root,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith("  health"):
                return process, line.split()[1].partition("/health")[0]
        raise AssertionError("the service did not start")

    return start


@pytest.mark.parametrize("kind", ["full-disk", "stuck-reader"])
def test_logs_that_cannot_be_written_cost_no_request(
    start_with_stderr: Any, images: list[bytes], kind: str
) -> None:
    read, write = os.pipe() if kind == "stuck-reader" else (None, os.open("/dev/full", os.O_WRONLY))
    # With a reader that is stuck: far more lines than a pipe holds, 64 KiB, and than may wait for
    # the writer, 2000.
    lines = 100 if read is None else 3000
    process, url = start_with_stderr(write)
    os.close(write)
    try:
        with (
            HttpClient(url, timeout_s=PATIENCE_S) as client,
            contextlib.closing(
                http.client.HTTPConnection(url.removeprefix("http://"), timeout=PATIENCE_S)
            ) as raw,
        ):
            before = client.classify(images[0])
            for _ in range(lines):
                raw.request("POST", "/waste/prediction", b"{")
                with raw.getresponse() as answer:
                    assert (answer.status, bool(answer.read())) == (400, True)
            assert client.classify(images[0]) == before
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
        if read is not None:
            os.close(read)


def test_the_default_admin_port_gives_way(
    start_any_service: Any, tiny_config: Path, free_port: int
) -> None:
    options = ("op.waste.concurrency=1", f"http_port={free_port}")
    # With an HTTP port of one's own, the admin port is the default one, for whoever comes first.
    with (
        start_any_service(tiny_config, *options) as first,
        start_any_service(tiny_config, options[0]) as other,
    ):
        assert (
            httpx.get(f"{other.admin}/metrics", timeout=PATIENCE_S).status_code == 200
        )  # any free port
        taken = [line for line in first.out if line.startswith("  admin")]
        assert taken or any("no admin address" in line for line in first.err)


def test_an_admin_port_of_ones_choice_must_be_free(tiny: Any, in_process: Run) -> None:
    port = tiny.admin.rpartition(":")[2]
    refused = in_process(pipeline, "-ohttp_port=0", "-orpc_port=", f"-oadmin.port={port}")
    assert refused.returncode == 1
    assert f"port {port} (admin.port) on 127.0.0.1 is in use" in refused.stderr


def test_a_burst_on_one_service_starves_no_other(
    start_any_service: Any, tmp_path: Path, tiny_model: Path, images: list[bytes]
) -> None:
    op = f"""
    concurrency: 1
    timeout: 60000
    local_service_conf: {{model_config: {tiny_model}, devices: ""}}
"""
    config = tmp_path / "config.yml"
    config.write_text(f"dag: {{channel_size: 64}}\nop:\n  busy:{op}  calm:{op}", encoding="utf-8")
    values = [base64.b64encode(image).decode() for image in images]
    burst = json.dumps({"key": ["image"] * len(values), "value": values}).encode()
    with (
        start_any_service(config) as service,
        httpx.Client(timeout=PATIENCE_S) as raw,
        HttpClient(service.url, service="calm", timeout_s=PATIENCE_S) as calm,
        ThreadPoolExecutor(8) as pool,
    ):
        status = httpx.get(f"{service.admin}/-/status", timeout=PATIENCE_S).json()
        workers = {entry["name"]: entry["workers"][0]["pid"] for entry in status["services"]}
        right = calm.classify(images[0])
        os.kill(workers["busy"], signal.SIGSTOP)
        busy = [
            pool.submit(raw.post, f"{service.url}/busy/prediction", content=burst) for _ in range(8)
        ]
        # The queue takes one of the requests. The others are refused while the worker stands still.
        wait_for(lambda: sum(future.done() for future in busy) == 7)
        assert [calm.classify(images[0]) for _ in range(5)] == [right] * 5
        os.kill(workers["busy"], signal.SIGCONT)
        outcomes = sorted(future.result().json()["err_no"] for future in busy)
    assert outcomes == [0] + [3004] * 7


def test_a_collector_gets_request_queue_and_predict(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    collector_pb2 = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2", reason="needs extra tracing"
    )
    collector_grpc = pytest.importorskip(
        "opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc"
    )
    received: list[Any] = []

    class Collector(collector_grpc.TraceServiceServicer):  # type: ignore[misc,name-defined]
        def Export(self, request: Any, _context: Any) -> Any:  # noqa: N802 - the protocol's name
            received.append(request)
            return collector_pb2.ExportTraceServiceResponse()

    server = grpc.server(ThreadPoolExecutor(1))
    collector_grpc.add_TraceServiceServicer_to_server(Collector(), server)
    address = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    trace_id, parent = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
    headers = {**JPEG, "traceparent": f"00-{trace_id}-{parent}-01"}
    try:
        with start_any_service(
            tiny_config,
            "op.waste.concurrency=1",
            environment={
                "OTEL_EXPORTER_OTLP_ENDPOINT": address,
                # Of a container: nothing listens there, and the collector is on this machine.
                **dict.fromkeys(("http_proxy", "HTTP_PROXY", "grpc_proxy"), "http://127.0.0.1:1"),
                **dict.fromkeys(("no_proxy", "NO_PROXY"), ""),
            },
        ) as service:
            answer = httpx.post(
                f"{service.url}/waste/prediction",
                content=images[0],
                headers=headers,
                timeout=PATIENCE_S,
            )
            assert answer.json()["err_no"] == 0
            with RpcClient(service.endpoint) as rpc:
                rpc.classify(images[0])
            assert service.stop() == 0  # sends what is left
    finally:
        server.stop(None).wait()
    spans = [
        span
        for request in received
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]
    assert sorted(span.name for span in spans) == sorted(2 * ["classify waste", "queue", "predict"])
    traced = {span.name: span for span in spans if span.trace_id.hex() == trace_id}
    request = traced["classify waste"]
    assert request.parent_span_id.hex() == parent
    for name in ("queue", "predict"):
        assert traced[name].parent_span_id == request.span_id
    assert traced["queue"].end_time_unix_nano == traced["predict"].start_time_unix_nano
    assert {attribute.key for attribute in traced["predict"].attributes} == {
        "serving.batch_size",
        "serving.decode_seconds",
        "serving.predict_seconds",
    }
