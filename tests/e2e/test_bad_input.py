"""Every kind of bad input gets a clear error over both wires, and the service goes on."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import grpc
import httpx
import numpy as np
import pytest

from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from tests.patience import PATIENCE_S


def jpeg(size: int = 64) -> bytes:
    noise = np.random.default_rng(0).integers(0, 255, (size, size, 3), np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is large; 20000 x 20000 real pixels would take a gigabyte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(b"\0" * 1000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


IMAGES = [
    pytest.param(b"just some text", 5001, 400, "looks like text", id="text"),
    pytest.param(b"<!DOCTYPE html><html>", 5001, 400, "an HTML page", id="html"),
    pytest.param(jpeg()[:-500], 5001, 400, "cut off", id="truncated-jpeg"),
    pytest.param(jpeg()[:10], 5001, 400, "cut off", id="jpeg-head"),
    pytest.param(png_header(20000, 20000), 5002, 413, "20000 x 20000", id="20000x20000"),
    pytest.param(b"GIF89a" + b"\0" * 60, 5001, 400, "a GIF", id="gif"),
    pytest.param(b"", 5001, 400, "empty", id="no-bytes"),
]


@pytest.fixture
def http(tiny: Any) -> Any:
    with httpx.Client(base_url=tiny.url, timeout=PATIENCE_S) as client:
        yield client


@pytest.fixture
def stub(tiny: Any) -> Any:
    with grpc.insecure_channel(tiny.endpoint) as channel:
        yield pb_grpc.PipelineServiceStub(channel)


def envelope(*images: bytes, **options: Any) -> dict[str, Any]:
    values = [base64.b64encode(image).decode() for image in images]
    return {
        "key": ["image"] * len(values) + list(options),
        "value": values + list(options.values()),
    }


def assert_goes_on(http: httpx.Client) -> None:
    assert http.post("/waste/prediction", json=envelope(jpeg())).status_code == 200


@pytest.mark.parametrize(("image", "err_no", "status", "cause"), IMAGES)
def test_bad_images(
    http: httpx.Client, stub: Any, image: bytes, err_no: int, status: int, cause: str
) -> None:
    response = http.post("/waste/prediction", json=envelope(image))
    assert (response.status_code, response.json()["err_no"]) == (status, err_no)
    assert cause in response.json()["err_msg"]
    value = base64.b64encode(image).decode()
    answer = stub.inference(
        pb.Request(name="waste", key=["image"], value=[value]), timeout=PATIENCE_S
    )
    assert answer.err_no == err_no
    assert cause in answer.err_msg
    assert_goes_on(http)


def test_a_bad_image_among_good_ones_fails_alone(http: httpx.Client) -> None:
    body = envelope(jpeg(), b"text", jpeg(80), png_header(20000, 20000))
    response = http.post("/waste/prediction", json=body)
    assert response.status_code == 200
    fields = response.json()
    answer = {k: json.loads(v) for k, v in zip(fields["key"], fields["value"], strict=True)}
    assert [label is None for label in answer["label"]] == [False, True, False, True]
    assert [error and error["err_no"] for error in answer["errors"]] == [None, 5001, None, 5002]


def test_an_image_of_one_pixel_is_answered(http: httpx.Client) -> None:
    pixel = cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()
    response = http.post("/waste/prediction", json=envelope(pixel))
    assert (response.status_code, response.json()["err_no"]) == (200, 0)


def test_a_long_thin_image_is_refused(http: httpx.Client) -> None:
    line = cv2.imencode(".png", np.zeros((1, 40000, 3), np.uint8))[1].tobytes()
    response = http.post("/waste/prediction", json=envelope(line))
    assert (response.status_code, response.json()["err_no"]) == (413, 5002)


@pytest.mark.parametrize("topk", [0, "0", -1, "x"])
def test_topk_below_one(http: httpx.Client, topk: Any) -> None:
    response = http.post("/waste/prediction", json=envelope(jpeg(), topk=topk))
    assert (response.status_code, response.json()["err_no"]) == (400, 5000)
    assert "topk must be a whole number" in response.json()["err_msg"]


def test_topk_beyond_the_classes_answers_all_of_them(http: httpx.Client) -> None:
    fields = http.post("/waste/prediction", json=envelope(jpeg(), topk="1000")).json()
    (topk,) = json.loads(fields["value"][fields["key"].index("topk")])
    assert sorted(category["class_id"] for category in topk) == list(range(3))
    assert sum(category["score"] for category in topk) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        (b"", "body is empty"),
        (b'{"key": ["a"], "value": ["!!"]}', "not base64"),
    ],
)
def test_bad_bodies(http: httpx.Client, body: bytes, cause: str) -> None:
    """One of each room that reads a body; tests/protocol has the others."""
    response = http.post("/waste/prediction", content=body)
    assert (response.status_code, response.json()["err_no"]) == (400, 5000)
    assert cause in response.json()["err_msg"]
    assert_goes_on(http)


def test_an_unknown_service_and_a_wrong_method(http: httpx.Client, stub: Any) -> None:
    response = http.post("/peach/prediction", json=envelope(jpeg()))
    assert (response.status_code, response.json()["err_no"]) == (404, 3002)
    assert stub.inference(pb.Request(name="peach"), timeout=PATIENCE_S).err_no == 3002
    response = http.put("/waste/prediction", json=envelope(jpeg()))
    assert (response.status_code, response.json()["err_no"]) == (405, 3000)
    assert_goes_on(http)


def test_a_body_over_the_limit(start_any_service: Any, tiny_config: Path) -> None:
    with start_any_service(tiny_config, "max_body_mb=1", "op.waste.concurrency=1") as service:
        with httpx.Client(base_url=service.url, timeout=PATIENCE_S) as http:
            response = http.post("/waste/prediction", content=b"x" * (2**20 + 1))
            assert (response.status_code, response.json()["err_no"]) == (413, 5002)
            # A client that does not say how much will come is stopped all the same.
            chunks = (b"x" * 65536 for _ in range(32))
            response = http.post("/waste/prediction", content=chunks)
            assert (response.status_code, response.json()["err_no"]) == (413, 5002)
            assert_goes_on(http)
        with grpc.insecure_channel(service.endpoint) as channel:
            stub = pb_grpc.PipelineServiceStub(channel)
            with pytest.raises(grpc.RpcError) as caught:
                stub.inference(pb.Request(key=["a"], value=["A" * (2**20 + 1)]), timeout=PATIENCE_S)
            assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
