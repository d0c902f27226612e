from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.web import app as app_module
from pipeline.web.app import build_http_app
from pipeline.web.openapi import build_openapi
from protocol.errors import DeadlineExceeded, NotReady, Overloaded, PredictionFailed
from tests.patience import PATIENCE_S

IMAGE = base64.b64encode(b"cat").decode()
BAD = base64.b64encode(b"bad").decode()
LIMIT = 2000


@pytest.fixture
async def http(services: Services, observer: Observer) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(
        build_http_app(Desk(services, observer, Inflight(LIMIT)), max_body_bytes=LIMIT)
    )
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


def values(response: httpx.Response) -> dict[str, Any]:
    fields = response.json()
    assert list(fields) == ["err_no", "err_msg", "key", "value", "tensors"]
    return {k: json.loads(v) for k, v in zip(fields["key"], fields["value"], strict=True)}


async def test_the_envelope_is_answered(http: httpx.AsyncClient, engine: Any) -> None:
    body = {"key": ["image", "topk"], "value": [IMAGE, "2"], "logid": 9}
    response = await http.post("/waste/prediction", json=body)
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert values(response)["label"] == ["cat"]
    expected = {"topk": 2, "threshold": None, "timeout_s": None, "log_id": 9, "works": None}
    assert engine.requests == [expected]


async def test_any_method_name_is_answered_as_0_9_does(http: httpx.AsyncClient) -> None:
    response = await http.post("/waste/anything", json={"key": ["x"], "value": [IMAGE]})
    assert response.status_code == 200


async def test_options_of_the_address_count_for_the_envelope_too(
    http: httpx.AsyncClient, engine: Any
) -> None:
    address = "/waste/prediction?topk=3&threshold=0.5&logid=7"
    await http.post(address, json={"key": ["image"], "value": [IMAGE]})
    own = {"key": ["image", "topk"], "value": [IMAGE, "1"], "logid": 8}
    await http.post(address, json=own)
    options = [(r["topk"], r["threshold"], r["log_id"]) for r in engine.requests]
    assert options == [(3, 0.5, 7), (1, 0.5, 8)]
    response = await http.post("/waste/prediction?topk=0", json=own)
    assert (response.status_code, response.json()["err_no"]) == (400, 5000)


@pytest.mark.parametrize("kind", ["image/jpeg", "image/png", "application/octet-stream"])
async def test_a_raw_image_is_classified(http: httpx.AsyncClient, engine: Any, kind: str) -> None:
    headers = {"Content-Type": kind}
    response = await http.post("/waste/prediction?topk=3&logid=1", content=b"dog", headers=headers)
    assert values(response)["label"] == ["dog"]
    assert (engine.requests[0]["topk"], engine.requests[0]["log_id"]) == (3, 1)


async def test_an_upload_of_several_images_and_options(
    http: httpx.AsyncClient, engine: Any
) -> None:
    files = [("a", ("a.jpg", b"one")), ("a", ("b.jpg", b"two"))]
    response = await http.post("/waste/prediction", files=files, data={"topk": "4"})
    assert values(response)["label"] == ["one", "two"]
    assert engine.requests[0]["topk"] == 4


async def test_one_bad_image_among_good_ones_is_reported_in_its_place(
    http: httpx.AsyncClient,
) -> None:
    body = {"key": ["a", "b"], "value": [BAD, IMAGE]}
    response = await http.post("/waste/prediction", json=body)
    assert response.status_code == 200
    found = values(response)
    assert found["label"] == [None, "cat"]
    assert found["errors"] == [{"err_no": 5001, "err_msg": "this looks like text"}, None]


@pytest.mark.parametrize(
    ("content", "headers", "status", "err_no", "message"),
    [
        (b"", {}, 400, 5000, "body is empty"),
        (b"no json", {}, 400, 5000, "not JSON"),
        (b"no json", {}, 400, 5000, "curl -F image=@a.jpg"),
        (b"{}", {}, 400, 5000, '"key" is missing'),
        (b'{"key": ["a"]}', {}, 400, 5000, '"value" is missing'),
        (b'{"key": ["a", "b"], "value": ["aa=="]}', {}, 400, 5000, "key has 2 entries"),
        (b'{"key": ["a"], "value": ["?"]}', {}, 400, 5000, "not base64"),
        (json.dumps({"key": ["a"], "value": [BAD]}).encode(), {}, 400, 5001, "looks like text"),
        (b"x" * (LIMIT + 1), {}, 413, 5002, "over the limit"),
        (b"x" * (LIMIT * 9), {}, 413, 5002, "over the limit"),
        (b"", {"Content-Type": "image/png"}, 400, 5000, "body is empty"),
        (b"x", {"Content-Type": "multipart/form-data"}, 400, 5000, "form"),
        (b"x", {"Content-Type": "multipart/form-data; boundary=b"}, 400, 5000, "form"),
        (
            b"--b--\r\n",
            {"Content-Type": "multipart/form-data; boundary=b"},
            400,
            5000,
            "no image",
        ),
        (b"x" * 2001, {"Content-Type": "multipart/form-data; boundary=b"}, 413, 5002, "limit"),
    ],
)
async def test_what_is_wrong_with_a_body_is_explained(
    http: httpx.AsyncClient,
    content: bytes,
    headers: dict[str, str],
    status: int,
    err_no: int,
    message: str,
) -> None:
    response = await http.post("/waste/prediction", content=content, headers=headers)
    fields = response.json()
    assert (response.status_code, fields["err_no"]) == (status, err_no)
    assert message in fields["err_msg"]
    assert list(fields) == ["err_no", "err_msg", "key", "value", "tensors"]
    good = await http.post("/waste/prediction", json={"key": ["a"], "value": [IMAGE]})
    assert good.status_code == 200


async def test_more_images_than_allowed(http: httpx.AsyncClient) -> None:
    body = {"key": ["image"] * 5, "value": [IMAGE] * 5}
    response = await http.post("/waste/prediction", json=body)
    assert response.status_code == 400
    assert "5 images in one request; the most is 4" in response.json()["err_msg"]


async def test_an_unknown_service_names_the_known_ones(http: httpx.AsyncClient) -> None:
    response = await http.post("/peach/prediction", json={"key": ["a"], "value": [IMAGE]})
    assert (response.status_code, response.json()["err_no"]) == (404, 3002)
    assert "services: waste" in response.json()["err_msg"]


@pytest.mark.parametrize("path", ["/waste", "/a/b/c", "/health", "/health/other/x"])
async def test_an_unknown_address_is_reported_in_the_envelope(
    http: httpx.AsyncClient, path: str
) -> None:
    response = await http.get(path)
    assert (response.status_code, response.json()["err_no"]) == (404, 3002)
    assert "post images to /waste/prediction" in response.json()["err_msg"]


async def test_an_image_posted_to_the_root_names_the_right_address(http: httpx.AsyncClient) -> None:
    response = await http.post("/", content=b"dog")
    assert (response.status_code, response.json()["err_no"]) == (405, 3000)
    assert "images are posted to /waste/prediction" in response.json()["err_msg"]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH"])
async def test_a_wrong_method_names_the_right_one(http: httpx.AsyncClient, method: str) -> None:
    response = await http.request(method, "/waste/prediction")
    assert (response.status_code, response.json()["err_no"]) == (405, 3000)
    assert response.headers["allow"] == "POST"


async def test_nobody_is_led_elsewhere(http: httpx.AsyncClient) -> None:
    for path in ("/health/live/", "/openapi.json/"):
        response = await http.get(path, headers={"Host": "evil.example"})
        assert response.status_code in (404, 405)
        assert "location" not in response.headers


async def test_the_openapi_description_is_made_once_for_the_services_there_are(
    http: httpx.AsyncClient, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It needs no key and costs ten times a small request to make."""
    made: list[Any] = []

    def build(names: Any, *arguments: Any, **options: Any) -> Any:
        made.append(names)
        return build_openapi(names, *arguments, **options)

    app_module._openapi.cache_clear()
    monkeypatch.setattr(app_module, "build_openapi", build)
    first = (await http.get("/openapi.json")).json()
    for _ in range(20):
        assert (await http.get("/openapi.json")).json() == first
    assert len(made) == 1
    services.replace({}, max_images=4)
    assert (await http.get("/openapi.json")).json() != first
    assert len(made) == 2
    app_module._openapi.cache_clear()


@pytest.mark.parametrize("query", ["&".join(["a"] * 101), "a=" + "x" * 4096])
async def test_an_address_with_many_parameters_is_refused_before_its_body(
    http: httpx.AsyncClient, query: str
) -> None:
    response = await http.post(f"/waste/prediction?{query}", content=b"x")
    assert (response.status_code, response.json()["err_no"]) == (400, 5000)
    assert "more than 100 parameters, or 4096 bytes" in response.json()["err_msg"]


async def test_health_refuses_a_post(http: httpx.AsyncClient) -> None:
    response = await http.post("/health/ready")
    assert (response.status_code, response.json()["err_no"]) == (405, 3000)
    assert response.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    ("error", "status", "err_no"),
    [
        (Overloaded("full"), 429, 3004),
        (NotReady("not yet"), 503, 3005),
        (DeadlineExceeded("late"), 504, 6000),
        (PredictionFailed("broken"), 500, 10000),
    ],
)
async def test_errors_of_the_engine_have_their_own_status(
    http: httpx.AsyncClient, engine: Any, error: Exception, status: int, err_no: int
) -> None:
    engine.error = error
    response = await http.post("/waste/prediction", json={"key": ["a"], "value": [IMAGE]})
    assert (response.status_code, response.json()["err_no"]) == (status, err_no)
    assert ("retry-after" in response.headers) == (status in (429, 503))


async def test_an_unexpected_error_is_logged_and_reported_without_details(
    services: Services, observer: Observer, engine: Any, caplog: pytest.LogCaptureFixture
) -> None:
    engine.error = KeyError("secret")
    app = build_http_app(Desk(services, observer, Inflight(LIMIT)), max_body_bytes=LIMIT)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as http:
        response = await http.post("/waste/prediction", json={"key": ["a"], "value": [IMAGE]})
    assert (response.status_code, response.json()["err_no"]) == (500, 10000)
    assert "secret" not in response.text
    assert "secret" in caplog.text


async def test_health_while_starting_ready_broken_and_stopping(
    http: httpx.AsyncClient, services: Services, engine: Any
) -> None:
    async def ready() -> tuple[int, str]:
        response = await http.get("/health/ready")
        return response.status_code, response.json()["status"]

    assert await ready() == (200, "ready")
    engine.ready = False
    assert await ready() == (503, "not ready")
    engine.ready = True
    for phase in ("starting", "stopping"):
        services.phase = phase
        assert await ready() == (503, phase)
        assert (await http.get("/health/live")).status_code == 200


async def test_work_is_refused_while_starting_and_stopping(
    http: httpx.AsyncClient, services: Services
) -> None:
    for phase, err_no in (("starting", 3005), ("stopping", 3001)):
        services.phase = phase
        response = await http.post("/waste/prediction", json={"key": ["a"], "value": [IMAGE]})
        assert (response.status_code, response.json()["err_no"]) == (503, err_no)


async def test_the_index_lists_what_is_served(http: httpx.AsyncClient) -> None:
    assert (await http.get("/")).json() == {
        "services": [{"service": "waste", "post": "/waste/prediction", "state": "ready"}]
    }


async def test_a_client_that_goes_away_cancels_its_request(
    services: Services, observer: Observer, engine: Any
) -> None:
    engine.delay_s = 30
    app = build_http_app(Desk(services, observer, Inflight(LIMIT)), max_body_bytes=LIMIT)
    body = json.dumps({"key": ["a"], "value": [IMAGE]}).encode()
    messages = asyncio.Queue[dict[str, Any]]()
    messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/waste/prediction",
        "raw_path": b"/waste/prediction",
        "query_string": b"",
        "headers": [],
        "http_version": "1.1",
        "scheme": "http",
    }
    running = asyncio.create_task(app(scope, messages.get, send))
    while not engine.requests:
        await asyncio.sleep(0.01)
    messages.put_nowait({"type": "http.disconnect"})
    await asyncio.wait_for(running, PATIENCE_S)
    assert engine.cancelled == 1


JPEG = {"Content-Type": "image/jpeg"}


@pytest.mark.parametrize(
    ("form", "answer"),
    [
        ("paddlex", [{"category_id": 1, "category": "dog", "score": 0.5}]),
        ("result", {"result": "dog"}),
    ],
)
async def test_an_image_is_answered_in_the_requested_form(
    http: httpx.AsyncClient, form: str, answer: Any
) -> None:
    url = f"/waste/prediction?form={form}&topk=1"
    raw = await http.post(url, content=b"dog", headers=JPEG)
    assert (raw.status_code, raw.json()) == (200, answer)
    uploaded = await http.post(url, files={"input_img": ("a.jpg", b"dog")})
    assert (uploaded.status_code, uploaded.json()) == (200, answer)


async def test_an_upload_may_name_the_form_in_a_field(http: httpx.AsyncClient) -> None:
    files = {"input_img": ("a.jpg", b"dog")}
    response = await http.post("/waste/prediction", files=files, data={"form": "result"})
    assert response.json() == {"result": "dog"}
    wrong = await http.post("/waste/prediction", files=files, data={"form": "yaml"})
    assert (wrong.status_code, wrong.json()["err_no"]) == (400, 5000)


async def test_several_images_are_answered_in_a_list(http: httpx.AsyncClient) -> None:
    files = [("a", ("a.jpg", b"dog")), ("a", ("b.jpg", b"bad"))]
    response = await http.post("/waste/prediction?form=result", files=files)
    assert response.status_code == 200
    assert response.json() == [
        {"result": "dog"},
        {"error": "err_no 5001: this looks like text"},
    ]


@pytest.mark.parametrize(
    ("query", "content", "headers", "err_no", "message"),
    [
        ("form=yaml", b"dog", JPEG, 5000, "form must be one of paddlex, result"),
        ("form=result", b"bad", JPEG, 5001, "this looks like text"),
        ("form=result", json.dumps({"key": ["x"], "value": [IMAGE]}).encode(), {}, 5000,
         "this body is read as the key/value envelope, whose reply is always the envelope"),
        ("form=result", b"dog", {"Content-Type": "application/x-www-form-urlencoded"}, 5000,
         "form goes with an upload, or with an image as the body;"),
    ],
)  # fmt: skip
async def test_a_form_that_cannot_be_is_an_error_in_the_envelope(
    http: httpx.AsyncClient, query: str, content: bytes, headers: Any, err_no: int, message: str
) -> None:
    response = await http.post(f"/waste/prediction?{query}", content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["err_no"] == err_no
    assert message in response.json()["err_msg"]
