from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from pipeline.admission.services import Services
from pipeline.engine.report import BatchReport
from pipeline.engine.status import Counters, EngineStatus, WorkerState, WorkerStatus
from pipeline.hosts.admin_app import build_admin_app, build_metrics_app
from pipeline.hosts.reload import ReloadError
from pipeline.observation.metrics import Metrics


class Host:
    """A host whose reload does what the test says."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.reloads = 0

    def status(self) -> dict[str, Any]:
        return {"state": WorkerState.BUSY, "services": []}

    def as_before(self) -> dict[str, list[str]]:
        return {"waste": ["labels"]}

    def served(self) -> dict[str, Any]:
        return {"waste": {"bundle": "/releases/2/model"}}

    async def reload(self) -> float:
        self.reloads += 1
        if self.error is not None:
            raise self.error
        return 1.23456


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
async def admin(
    host: Host, services: Services, metrics: Metrics
) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(build_admin_app(host, services, metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_a_reload_replies_with_its_seconds(admin: httpx.AsyncClient, host: Host) -> None:
    response = await admin.post("/-/reload")
    assert (response.status_code, response.json()) == (
        200,
        {
            "status": "reloaded",
            "seconds": 1.235,
            "services": ["waste"],
            "served": {"waste": {"bundle": "/releases/2/model"}},
            "as_before": {"waste": ["labels"]},
        },
    )
    assert host.reloads == 1


async def test_a_reload_that_changed_nothing_says_why(admin: httpx.AsyncClient, host: Host) -> None:
    host.error = ReloadError("http_port: cannot change while the service runs; restart it")
    response = await admin.post("/-/reload")
    assert response.status_code == 409
    assert response.json() == {"status": "unchanged", "error": str(host.error)}


async def test_a_page_in_a_browser_cannot_reload(admin: httpx.AsyncClient, host: Host) -> None:
    response = await admin.post("/-/reload", headers={"Origin": "https://example.org"})
    assert response.status_code == 403
    assert host.reloads == 0


async def test_reading_does_not_reload(admin: httpx.AsyncClient, host: Host) -> None:
    assert (await admin.get("/-/reload")).status_code == 405
    assert host.reloads == 0


async def test_the_status_is_json(admin: httpx.AsyncClient) -> None:
    assert (await admin.get("/-/status")).json() == {"state": "busy", "services": []}
    assert (await admin.get("/health/ready")).status_code == 200


async def test_metrics_without_admin_offer_nothing_else(metrics: Metrics) -> None:
    transport = httpx.ASGITransport(build_metrics_app(metrics))
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.get("/metrics")).status_code == 200
        assert (await client.post("/-/reload")).status_code == 404
        assert (await client.get("/-/status")).status_code == 404


async def test_counts_are_exposed(admin: httpx.AsyncClient, metrics: Metrics) -> None:
    class Engine:
        def status(self) -> EngineStatus:
            workers = (
                WorkerStatus("waste-0", 1, WorkerState.BUSY, 2, 5, 9, None),
                WorkerStatus("waste-1", 2, WorkerState.IDLE, 0, 0, 0, None),
            )
            counters = Counters(admitted=9, answered=7, expired=2, restarts=2, retried=1)
            return EngineStatus("waste", True, 3, 256, 4, workers, counters)

    metrics.watch(lambda: {"waste": Engine()})
    metrics.request_done("waste", "http", "ok", 0.03)
    metrics.request_done("waste", "rpc", "overloaded", 0.0001)
    stages_s = {"decode": 0.02, "predict": 0.06}
    metrics.batch_done("waste", BatchReport([0.01, 0.3], [], 0.1, stages_s))
    # Nothing of this one could be decoded: the model did not run.
    nothing = {"decode": 0.01, "predict": 0.0}
    metrics.batch_done("waste", BatchReport([0.01], [], 0.1, nothing))
    metrics.reload_done(succeeded=False)
    response = await admin.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    exposed = samples(response.text)

    def value(name: str, **labels: str) -> float:
        return exposed[name, tuple(sorted(labels.items()))]

    assert value("serving_build_info", version="1.2.3") == 1
    labels = {"service": "waste", "protocol": "rpc"}
    assert value("serving_requests_total", outcome="overloaded", **labels) == 1
    labels["protocol"] = "http"
    assert value("serving_request_duration_seconds_sum", **labels) == 0.03
    assert value("serving_request_duration_seconds_bucket", le="0.02", **labels) == 0
    assert value("serving_request_duration_seconds_bucket", le="0.035", **labels) == 1
    assert value("serving_queue_wait_seconds_count", service="waste") == 3
    assert value("serving_decode_duration_seconds_count", service="waste") == 2
    assert value("serving_predict_duration_seconds_count", service="waste") == 1
    assert value("serving_predict_duration_seconds_sum", service="waste") == 0.06
    assert value("serving_batch_size_images_sum", service="waste") == 3
    assert value("serving_images_total", service="waste", outcome="answered") == 7
    assert value("serving_images_total", service="waste", outcome="expired") == 2
    assert value("serving_image_retries_total", service="waste") == 1
    assert value("serving_worker_restarts_total", service="waste") == 2
    assert value("serving_queue_images", service="waste") == 3
    assert value("serving_queue_limit_images", service="waste") == 256
    assert value("serving_workers", service="waste", state="busy") == 1
    assert value("serving_workers", service="waste", state="restarting") == 0
    assert value("serving_reloads_total", outcome="failed") == 1


def test_every_metric_has_its_line_in_the_guide(metrics: Metrics, root: Any) -> None:
    guide = (root / "docs" / "monitoring.md").read_text(encoding="utf-8")
    names = [
        family.name + ("_total" if family.type == "counter" else "")
        for family in metrics.registry.collect()
        if family.name.startswith("serving_")
    ]
    assert len(names) > 15
    assert [name for name in names if f"`{name}`" not in guide] == []
