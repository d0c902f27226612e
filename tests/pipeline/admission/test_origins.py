from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.origins import check_origin, comes_from_a_page, names_a_machine
from pipeline.admission.services import Services
from pipeline.hosts.admin_app import build_admin_app
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.web.app import build_http_app
from protocol.errors import Forbidden

SHOP = "https://shop.example"


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),  # no browser
        ({"origin": SHOP}, True),
        ({"origin": "http://serving:18080", "host": "serving:18080"}, True),
        ({"origin": "http://SERVING:18080", "host": "serving:18080"}, True),
        ({"origin": "https://evil.example", "host": "serving:18080"}, False),
        ({"origin": "https://serving.evil.example", "host": "serving"}, False),
        ({"origin": "http://serving:8080", "host": "serving:18080"}, False),
        ({"origin": "null", "host": "serving"}, False),
        ({"origin": "", "host": "serving"}, False),
        ({"origin": f"{SHOP}.evil.example"}, False),
        ({"origin": "http://[", "host": "["}, False),
        ({"origin": "nothing", "host": ""}, False),
        ({"origin": "nothing"}, False),
    ],
)
def test_whose_pages_may_ask(headers: dict[str, str], allowed: bool) -> None:
    if allowed:
        check_origin(headers, [SHOP])
    else:
        with pytest.raises(Forbidden, match="cors_origins"):
            check_origin(headers, [SHOP])


@pytest.mark.parametrize(
    ("headers", "page"),
    [
        ({}, False),
        ({"sec-fetch-site": "none"}, False),  # typed into the address bar
        ({"origin": "http://127.0.0.1"}, True),
        ({"sec-fetch-site": "cross-site"}, True),
        ({"sec-fetch-site": "same-origin"}, True),
    ],
)
def test_what_comes_from_a_page(headers: dict[str, str], page: bool) -> None:
    assert comes_from_a_page(headers) == page


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:19390", "[::1]:19390", "serving", ""])
def test_names_of_machines(host: str) -> None:
    assert names_a_machine(host)


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:19390", "a.b:1", "["])
def test_names_of_the_internet(host: str) -> None:
    assert not names_a_machine(host)


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://serving:1"])
def test_every_page_may_ask_where_all_are_listed(origin: str) -> None:
    check_origin({"origin": origin, "host": "serving"}, ["*"])


async def test_every_page_may_read_the_answer_where_all_are_listed(
    services: Services, observer: Observer
) -> None:
    app = build_http_app(
        Desk(services, observer, Inflight(2000), cors_origins=["*"]), max_body_bytes=2000
    )
    transport = httpx.ASGITransport(app)
    origin = {"Origin": "https://anybody.example"}
    async with httpx.AsyncClient(transport=transport, base_url="http://serving") as client:
        wanted = {
            "Access-Control-Request-Method": "POST",
            "Access-Control-Request-Headers": "x-api-key,content-type",
        }
        asked_before = await client.options("/waste/prediction", headers={**origin, **wanted})
        assert asked_before.status_code == 200
        body = json.dumps({"key": ["image"], "value": ["Y2F0"]})
        answer = await client.post("/waste/prediction", content=body, headers=origin)
        assert (answer.status_code, answer.json()["err_no"]) == (200, 0)
        # The service uses no cookies, so the wildcard is enough.
        for seen in (asked_before, answer):
            assert seen.headers["Access-Control-Allow-Origin"] == "*"
            assert "Access-Control-Allow-Credentials" not in seen.headers


async def test_a_strangers_page_cannot_use_the_service(
    services: Services, observer: Observer, engine: Any
) -> None:
    app = build_http_app(
        Desk(services, observer, Inflight(2000), cors_origins=[SHOP]), max_body_bytes=2000
    )
    transport = httpx.ASGITransport(app)
    body = json.dumps({"key": ["image"], "value": ["Y2F0"]})
    async with httpx.AsyncClient(transport=transport, base_url="http://serving") as client:

        async def ask(origin: str) -> tuple[int, int]:
            # What a form or fetch of any page may send without a preflight request.
            headers = {"Origin": origin, "Content-Type": "text/plain"}
            answer = await client.post("/waste/prediction", content=body, headers=headers)
            return answer.status_code, answer.json()["err_no"]

        assert await ask("https://evil.example") == (403, 3008)
        assert engine.requests == []
        assert await ask(SHOP) == (200, 0)
        assert await ask("http://serving") == (200, 0)


class _Host:
    def status(self) -> dict[str, Any]:
        return {}

    async def reload(self) -> float:
        return 1.0

    def served(self) -> dict[str, Any]:
        return {}

    def as_before(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(("local", "status"), [(True, 403), (False, 200)])
async def test_a_page_that_had_its_name_lead_here_reads_nothing(
    services: Services, metrics: Metrics, local: bool, status: int
) -> None:
    transport = httpx.ASGITransport(build_admin_app(_Host(), services, metrics, local=local))
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        for path in ("/-/status", "/metrics"):
            assert (await client.get(path)).status_code == 200
            rebound = await client.get(path, headers={"Host": "evil.example:19390"})
            assert rebound.status_code == status
        page = await client.post("/-/reload", headers={"Sec-Fetch-Site": "cross-site"})
        assert page.status_code == 403
        assert (await client.post("/-/reload")).status_code == 200
