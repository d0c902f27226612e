from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.observation.request_log import RequestLog
from pipeline.observation.tracing import Tracing
from pipeline.web.app import build_http_app
from protocol.errors import InvalidRequest, Overloaded
from protocol.reply import Category
from tests.patience import PATIENCE_S

PNG = {"Content-Type": "image/png"}


def outcomes(metrics: Metrics) -> dict[tuple[str, str, str], float]:
    return {
        (s.labels["service"], s.labels["protocol"], s.labels["outcome"]): s.value
        for family in metrics.registry.collect()
        if family.name == "serving_requests"
        for s in family.samples
    }


@pytest.fixture
def post(services: Services, observer: Observer) -> Any:
    app = build_http_app(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)

    async def send(path: str = "/waste/prediction", content: bytes = b"cat", **more: Any) -> Any:
        transport = httpx.ASGITransport(app, client=("192.0.2.7", 5000))
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.post(path, content=content, headers={**PNG, **more})

    return send


async def test_every_outcome_is_counted_once(post: Any, engine: Any, metrics: Metrics) -> None:
    await post()
    await post(content=b"bad")
    await post("/nothing/prediction")
    await post("/made-up-by-a-caller/prediction")
    engine.error = Overloaded("full")
    await post()
    engine.error = RuntimeError("a fault")
    assert (await post()).status_code == 500
    assert outcomes(metrics) == {
        ("waste", "http", "ok"): 1,
        ("waste", "http", "undecodable_image"): 1,
        ("unknown", "http", "service_not_found"): 2,
        ("waste", "http", "overloaded"): 1,
        ("waste", "http", "internal_error"): 1,
    }


@pytest.mark.parametrize(
    ("method", "path", "outcome", "err_no"),
    [
        ("GET", "/waste/prediction", "method_not_allowed", 3000),
        ("POST", "/no/such/path", "service_not_found", 3002),
    ],
)
async def test_what_the_router_refuses_is_counted_and_logged(
    services: Services,
    observer: Observer,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
    method: str,
    path: str,
    outcome: str,
    err_no: int,
) -> None:
    caplog.set_level(logging.INFO, "pipeline.requests")
    app = build_http_app(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        response = await client.request(method, path)
    assert response.json()["err_no"] == err_no
    assert outcomes(metrics) == {("unknown", "http", outcome): 1}
    assert [record.err_no for record in caplog.records] == [err_no]  # type: ignore[attr-defined]


async def test_who_goes_away_is_no_error_of_ours(
    services: Services,
    observer: Observer,
    metrics: Metrics,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "pipeline.requests")
    app = build_http_app(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    path = "/waste/prediction"
    scope = {
        "type": "http", "method": "POST", "path": path, "query_string": b"", "headers": [],
        "client": ("192.0.2.7", 5000),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_message: Any) -> None:
        pass

    await app(scope, receive, send)
    assert outcomes(metrics) == {("waste", "http", "abandoned"): 1}
    (record,) = caplog.records
    assert record.err_no == 0  # type: ignore[attr-defined]


async def test_an_answer_that_cannot_be_written_is_an_error(
    post: Any, engine: Any, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def classify(*_arguments: Any, **_options: Any) -> Any:
        return [(Category(1, "\ud800bad", 0.5),)]

    monkeypatch.setattr(engine, "classify", classify)
    for path in ("/waste/prediction", "/waste/prediction?form=paddlex"):
        response = await post(path)
        assert (response.status_code, response.json()["err_no"]) == (500, 10000)
    assert outcomes(metrics) == {("waste", "http", "prediction_failed"): 2}


async def test_an_error_class_of_a_user_has_its_ancestors_outcome(
    post: Any, engine: Any, metrics: Metrics
) -> None:
    """Classes that others make up are no labels."""

    class TooBlurred(InvalidRequest):
        pass

    engine.error = TooBlurred("hold still")
    await post()
    assert outcomes(metrics) == {("waste", "http", "invalid_request"): 1}


async def test_a_request_has_one_line_without_its_image(
    post: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "pipeline.requests")
    await post("/waste/prediction?log_id=41", content=b"secret image")
    (record,) = caplog.records
    assert record.getMessage().startswith("waste http ok 1 image ")
    assert record.getMessage().endswith(" ms log_id 41 from 192.0.2.7")
    assert (record.service, record.log_id, record.err_no) == ("waste", 41, 0)  # type: ignore[attr-defined]
    assert "secret" not in json.dumps({k: str(v) for k, v in vars(record).items()})


async def test_under_load_lines_are_sampled_and_the_rest_counted(
    post: Any, caplog: pytest.LogCaptureFixture, observer: Observer
) -> None:
    caplog.set_level(logging.INFO, "pipeline.requests")
    for _ in range(12):
        await post()
    for _ in range(7):
        await post(content=b"bad")
    observer.log.close()
    lines = [record.getMessage() for record in caplog.records]
    assert sum(" ok " in line for line in lines) == 5
    assert sum(" undecodable_image (5001) " in line for line in lines) == 5
    assert lines[-1] == "9 more requests in this second: 7 ok, 2 undecodable_image"


async def test_nothing_is_formatted_when_the_level_is_off(
    metrics: Metrics, services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "pipeline.requests")
    observer = Observer(metrics, RequestLog(5), Tracing())
    with observer.request("http", "192.0.2.7") as seen:
        seen.found("waste")
    assert caplog.records == []
    assert outcomes(metrics) == {("waste", "http", "ok"): 1}


@pytest.mark.parametrize("value", ["", "soon", "-1", "0", "nan", "inf"])
async def test_a_deadline_that_is_invalid_is_reported(post: Any, value: str) -> None:
    response = await post(**{"X-Request-Timeout": value})
    assert response.status_code == 400
    assert "X-Request-Timeout" in response.json()["err_msg"]


async def test_the_callers_deadline_reaches_the_engine(post: Any, engine: Any) -> None:
    assert (await post(**{"X-Request-Timeout": "2.5"})).status_code == 200
    (call,) = engine.requests
    assert 0 < call["timeout_s"] <= 2.5


async def test_the_callers_deadline_runs_while_the_body_arrives(
    services: Services, observer: Observer, engine: Any, metrics: Metrics
) -> None:
    never = asyncio.Event()

    async def stalled() -> Any:
        yield b"c"
        await never.wait()

    app = build_http_app(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {**PNG, "X-Request-Timeout": "0.05"}
        asking = client.post("/waste/prediction", content=stalled(), headers=headers)
        response = await asyncio.wait_for(asking, PATIENCE_S)
    assert (response.status_code, response.json()["err_no"]) == (504, 6000)
    assert engine.requests == []
    assert outcomes(metrics) == {("waste", "http", "deadline_exceeded"): 1}


async def test_a_body_that_took_the_whole_deadline_is_not_computed(
    services: Services, observer: Observer, engine: Any
) -> None:
    async def slowly() -> Any:
        yield b"c"
        await asyncio.sleep(0.05)
        yield b"at"

    app = build_http_app(Desk(services, observer, Inflight(2000)), max_body_bytes=2000)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        headers = {**PNG, "X-Request-Timeout": "0.02"}
        response = await client.post("/waste/prediction", content=slowly(), headers=headers)
    assert (response.status_code, response.json()["err_no"]) == (504, 6000)
    assert engine.requests == []
