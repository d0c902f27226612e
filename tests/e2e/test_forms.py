"""The answers that programs of the tutorials read, from the embedded model over real wires."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.http_client import HttpClient
from client.http_client import main as http_client
from client.rpc_client import main as rpc_client
from protocol.reply import Categories
from tests.patience import PATIENCE_S

TOPK = 2
ROUTE = "/waste/prediction"
TEXT = b"just some text"
ERROR = {"error": "err_no 5001: this looks like text; send an image as JPEG, PNG, BMP, WebP, TIFF"}


@pytest.fixture
def image(root: Path) -> Path:
    return root / "examples" / "images" / "glass_bottle.jpg"


@pytest.fixture
def http(waste: Any) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=waste.url, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
def right(waste: Any, image: Path) -> Categories:
    """What the envelope says about the image."""
    with HttpClient(waste.url) as client:
        return client.classify(image, topk=TOPK)


def in_form(form: str, categories: Categories) -> str:
    """The answer as the tutorials print it, key by key in their order."""
    if form == "result":
        return f'{{"result": "{categories[0].label}"}}'
    entries = [
        f'{{"category_id": {c.class_id}, "category": "{c.label}", "score": {c.score!r}}}'
        for c in categories
    ]
    return f"[{', '.join(entries)}]"


@pytest.mark.parametrize("form", ["paddlex", "result"])
def test_one_image_is_answered_in_the_bare_form(
    http: httpx.Client, image: Path, right: Categories, form: str
) -> None:
    assert len(right) == TOPK
    url, data = f"{ROUTE}?form={form}&topk={TOPK}", image.read_bytes()
    raw = http.post(url, content=data, headers={"Content-Type": "image/jpeg"})
    uploaded = http.post(url, files={"input_img": data})
    field = http.post(ROUTE, files={"images": data}, data={"form": form, "topk": str(TOPK)})
    for response in (raw, uploaded, field):
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/json"
        assert response.text == in_form(form, right)


@pytest.mark.parametrize("form", ["paddlex", "result"])
def test_several_images_are_answered_in_order(
    http: httpx.Client, image: Path, right: Categories, form: str
) -> None:
    files = [("images", ("f", data)) for data in (image.read_bytes(), TEXT, b"")]
    response = http.post(f"{ROUTE}?form={form}&topk={TOPK}", files=files)
    assert response.status_code == 200
    first, second, third = response.json()
    assert json.dumps(first, ensure_ascii=False) == in_form(form, right)
    assert second == ERROR
    assert third["error"].startswith("err_no 5001: the image is empty")


@pytest.mark.parametrize(("form", "nothing"), [("paddlex", "[]"), ("result", '{"result": null}')])
def test_a_threshold_that_nothing_reaches_is_no_error(
    http: httpx.Client, image: Path, form: str, nothing: str
) -> None:
    url = f"{ROUTE}?form={form}&threshold=1"
    response = http.post(url, files={"input_img": image.read_bytes()})
    assert (response.status_code, response.text) == (200, nothing)


@pytest.mark.parametrize(
    ("path", "images", "status", "err_no"),
    [
        (f"{ROUTE}?form=result", [TEXT], 400, 5001),
        (f"{ROUTE}?form=result", [TEXT, TEXT], 400, 5001),
        (f"{ROUTE}?form=yaml", [TEXT], 400, 5000),
        ("/paper/prediction?form=result", [TEXT], 404, 3002),
    ],
    ids=["text", "all-text", "unknown-form", "unknown-service"],
)
def test_a_request_that_fails_is_reported_in_the_envelope(
    http: httpx.Client, path: str, images: list[bytes], status: int, err_no: int
) -> None:
    response = http.post(path, files=[("images", ("f", data)) for data in images])
    assert list(response.json()) == ["err_no", "err_msg", "key", "value", "tensors"]
    assert (response.status_code, response.json()["err_no"]) == (status, err_no)


@pytest.mark.parametrize("wire", ["http", "rpc"])
@pytest.mark.parametrize("form", ["paddlex", "result"])
def test_both_clients_print_the_form(
    in_process: Callable[..., Any],
    waste: Any,
    image: Path,
    right: Categories,
    tmp_path: Path,
    wire: str,
    form: str,
) -> None:
    text = tmp_path / "text.jpg"
    text.write_bytes(TEXT)
    main, *where = {
        "http": (http_client, "--url", waste.url),
        "rpc": (rpc_client, "--endpoint", waste.endpoint),
    }[wire]
    done = in_process(main, *where, "--form", form, "--topk", TOPK, image, text)
    assert done.returncode == 1, done.stderr
    first, second = done.stdout.splitlines()
    assert first == in_form(form, right)
    assert json.loads(second) == ERROR
