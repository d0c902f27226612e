"""Heavy but legal images beside those of other callers: no worker is killed, no bystander waits."""

from __future__ import annotations

import base64
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pytest

from tests.patience import PATIENCE_S

from .conftest import Service, Start


@pytest.fixture(scope="module")
def heavy() -> bytes:
    """A PNG of 49 megapixels, in 163 KB."""
    return cv2.imencode(".png", np.full((7000, 7000, 3), 77, np.uint8))[1].tobytes()


def post(service: Service, images: list[bytes]) -> tuple[int, dict[str, Any]]:
    texts = [base64.b64encode(image).decode() for image in images]
    body = {"key": [f"image_{i}" for i in range(len(texts))], "value": texts}
    reply = httpx.post(
        f"{service.url}/waste/prediction", json=body, timeout=10 * PATIENCE_S, trust_env=False
    )
    return reply.status_code, reply.json()


def restarts(service: Service) -> int:
    reply = httpx.get(f"{service.admin}/-/status", timeout=PATIENCE_S, trust_env=False)
    (status,) = reply.json()["services"]
    return int(status["counters"]["restarts"])


def test_heavy_images_delay_no_bystander_and_kill_no_worker(
    start_any_service: Start, tiny_config: Path, images: list[bytes], heavy: bytes
) -> None:
    options = ("op.waste.concurrency=2", "op.waste.timeout=600000", "admin.port=0")
    with start_any_service(tiny_config, *options) as service, ThreadPoolExecutor(1) as attacker:
        workers = service.workers()
        assert post(service, images[:1])[0] == 200
        began = time.monotonic()
        attack = attacker.submit(post, service, [heavy] * 4)
        delays = []
        while not attack.done():
            sent = time.monotonic()
            status, reply = post(service, images[:1])
            delays.append(time.monotonic() - sent)
            assert status == 200, reply
        status, reply = attack.result()
        whole_s = time.monotonic() - began
        assert status == 200, reply
        assert len(json.loads(reply["value"][0])) == 4
        # A worker stays free for them. In two batches, each of two, half of the time was a delay.
        assert len(delays) >= 16
        assert max(delays) < whole_s / 3
        assert service.workers() == workers
        assert restarts(service) == 0


def test_what_can_never_be_in_time_is_refused_at_once(
    start_any_service: Start, tiny_config: Path, images: list[bytes], heavy: bytes
) -> None:
    options = ("op.waste.concurrency=2", "op.waste.timeout=1000", "admin.port=0")
    with start_any_service(tiny_config, *options) as service:
        assert any("  warning" in line and "max_image_pixels" in line for line in service.out)
        status, reply = post(service, [heavy] * 64)
        assert (status, reply["err_no"]) == (413, 5002)
        assert "the 64 images are the work of" in reply["err_msg"]
        assert "send fewer or smaller images at a time" in reply["err_msg"]
        assert restarts(service) == 0
