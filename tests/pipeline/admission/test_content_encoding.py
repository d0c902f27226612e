"""Bodies that were compressed on their way, through the application of a service."""

from __future__ import annotations

import base64
import gzip
import json
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from pipeline.admission import content_encoding
from pipeline.admission.content_encoding import encoding_of
from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.web.app import build_http_app
from protocol.errors import UnsupportedEncoding

LIMIT = 3 * 2**20
JSON = json.dumps({"key": ["image"], "value": [base64.b64encode(b"cat").decode()]}).encode()
# Different in every step, and twice as large as it is packed.
LONG = b"cat\n" + b"".join(b"%x" % (i * i) for i in range(200_000))


def raw_deflate(data: bytes) -> bytes:
    deflater = zlib.compressobj(wbits=-15)
    return deflater.compress(data) + deflater.flush()


@pytest.fixture
def inflight() -> Inflight:
    return Inflight(2 * LIMIT)


@pytest.fixture
async def http(
    services: Services, observer: Observer, inflight: Inflight
) -> AsyncIterator[httpx.AsyncClient]:
    app = build_http_app(Desk(services, observer, inflight), max_body_bytes=LIMIT)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as client:
        yield client


async def post(http: httpx.AsyncClient, body: Any, encoding: str, **headers: str) -> httpx.Response:
    named = {"Content-Encoding": encoding, **headers}
    return await http.post("/waste/prediction", content=body, headers=named)


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("x-gzip", gzip.compress),
        ("GZIP", gzip.compress),
        ("identity, gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
        ("identity", bytes),
        ("", bytes),
    ],
    ids=range(8),
)
async def test_a_packed_body_is_read(
    http: httpx.AsyncClient, inflight: Inflight, encoding: str, pack: Any
) -> None:
    assert (await post(http, pack(JSON), encoding)).status_code == 200
    image = {"Content-Type": "image/jpeg"}
    assert (await post(http, pack(b"\xff\xd8\n\0"), encoding, **image)).status_code == 200
    assert (await post(http, pack(LONG), encoding, **image)).status_code == 200
    assert inflight.reserved == 0


async def test_a_body_of_many_steps_and_members_is_the_same_unpacked(
    http: httpx.AsyncClient, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = b"".join(gzip.compress(LONG[i : i + 99_991]) for i in range(0, len(LONG), 99_991))
    seen: list[bytes] = []
    classify = engine.classify

    async def watched(images: Any, **options: Any) -> Any:
        seen.extend(image.data for image in images)
        return await classify(images, **options)

    monkeypatch.setattr(engine, "classify", watched)
    for step, piece in ((2**20, 64 * 1024), (7_919, 1_009), (100_003, 3)):
        monkeypatch.setattr(content_encoding, "_STEP", step)
        monkeypatch.setattr(content_encoding, "_PIECE", piece)
        sent = packed if piece > 3 else gzip.compress(LONG[:20_000])
        response = await post(http, sent, "gzip", **{"Content-Type": "image/png"})
        assert response.status_code == 200
    assert seen == [LONG, LONG, LONG[:20_000]]


@pytest.mark.parametrize(
    "encoding", ["br", "zstd", "compress", "gzip, gzip", "br, gzip", "aws-chunked"]
)
async def test_other_encodings_are_refused_by_name(http: httpx.AsyncClient, encoding: str) -> None:
    response = await post(http, JSON, encoding)
    assert (response.status_code, response.json()["err_no"]) == (415, 5003)
    assert f"Content-Encoding: {encoding} is not read" in response.json()["err_msg"]
    assert "gzip or deflate" in response.json()["err_msg"]
    assert response.headers["accept-encoding"] == "gzip, deflate"


@pytest.mark.parametrize(
    ("body", "encoding", "reason"),
    [
        (JSON, "gzip", "the body is not packed with gzip; leave the header out"),
        (b"", "gzip", "not packed with gzip"),
        (gzip.compress(JSON)[:-9], "gzip", "it is cut off"),
        (gzip.compress(JSON)[:10], "gzip", "it is cut off"),
        (gzip.compress(JSON) + b"more", "gzip", "something is behind its end"),
        (gzip.compress(JSON)[:-8] + bytes(8), "gzip", "incorrect data check"),
        (JSON, "deflate", "invalid"),
        (b"", "deflate", "it is cut off"),
        (gzip.compress(b"") * 10_001, "gzip", "more than 295 members; pack it as one"),
    ],
    ids=range(9),  # the bytes hold the time
)
async def test_a_body_that_is_not_packed_well_is_explained(
    http: httpx.AsyncClient, body: bytes, encoding: str, reason: str
) -> None:
    response = await post(http, body, encoding)
    assert (response.status_code, response.json()["err_no"]) == (400, 5000)
    assert reason in response.json()["err_msg"]


async def test_gzip_data_without_its_header_names_the_header(http: httpx.AsyncClient) -> None:
    response = await http.post("/waste/prediction", content=gzip.compress(JSON))
    assert (response.status_code, response.json()["err_no"]) == (400, 5000)
    assert "add the header Content-Encoding: gzip" in response.json()["err_msg"]


async def test_a_body_that_unpacks_to_more_than_the_limit_is_refused_on_the_way(
    http: httpx.AsyncClient, inflight: Inflight
) -> None:
    bomb = gzip.compress(bytes(64 * LIMIT))
    assert len(bomb) < LIMIT / 10
    tracemalloc.start()
    response = await post(http, bomb, "gzip")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (response.status_code, response.json()["err_no"]) == (413, 5002)
    assert "unpacks to more than the limit of 3 MiB" in response.json()["err_msg"]
    assert peak < 3 * LIMIT
    assert inflight.reserved == 0


async def test_a_body_that_unpacks_to_many_times_its_size_is_refused(
    http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content_encoding, "FREE_BYTES", 2**20)
    response = await post(http, gzip.compress(bytes(LIMIT)), "gzip")
    assert (response.status_code, response.json()["err_no"]) == (413, 5002)
    assert "more than 200 times its size; send it as it is" in response.json()["err_msg"]


async def test_what_is_unpacked_counts_in_the_budget(
    services: Services, observer: Observer
) -> None:
    budget = Inflight(LIMIT // 2)
    app = build_http_app(Desk(services, observer, budget), max_body_bytes=LIMIT)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        response = await post(http, gzip.compress(bytes(LIMIT)), "gzip")
        assert (response.status_code, response.json()["err_no"]) == (429, 3004)
        assert budget.reserved == 0
        assert (await post(http, gzip.compress(JSON), "gzip")).status_code == 200


async def test_a_large_body_is_unpacked_in_the_thread(
    services: Services, observer: Observer
) -> None:
    desk = Desk(services, observer, Inflight(100 * LIMIT))
    jobs = []
    submit = desk.parsing._executor.submit

    def counted(*job: Any, **options: Any) -> Any:
        jobs.append(job)
        return submit(*job, **options)

    desk.parsing._executor.submit = counted  # type: ignore[method-assign]
    app = build_http_app(desk, max_body_bytes=LIMIT)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://test"
    ) as http:
        await post(http, gzip.compress(JSON), "gzip")
        assert not jobs
        await post(http, gzip.compress(LONG), "gzip")
        assert len(jobs) >= len(LONG) // 2**20


@pytest.mark.parametrize("filling", [b"", b"x"])
def test_members_that_were_made_to_be_slow_are_few_at_once(filling: bytes) -> None:
    """A member takes twenty bytes of a body and seven microseconds."""
    body = gzip.compress(filling) * 5000
    unpacker = content_encoding._Unpacker(body + bytes(5000 * 1024), "gzip")
    for steps in (1, 2):
        unpacker.step(2**20, 8)
        assert unpacker._members <= steps * 8 + 1


def test_a_long_list_of_encodings_is_not_read() -> None:
    with pytest.raises(UnsupportedEncoding) as caught:
        encoding_of(["gzip," * 10_000] * 100)
    assert len(str(caught.value)) < 300
