"""A caller's own deadline is kept while other callers' bodies keep the parsers at work."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.patience import PATIENCE_S

KEYS = {"crafted": "0123456789abcdef0123", "honest": "fedcba9876543210fedc"}
SIZE = 40 * 2**20
# A repair takes ten times as long as an ordinary body of the size.
CRAFTED = b'{"key": ["image"], "value": ["' + b"%0A" * (SIZE // 3) + b'"]}'
SENDERS = 3


@pytest.fixture
def service(
    start_any_service: Callable[..., Any], tiny_config: Path, tmp_path: Path
) -> Iterator[Any]:
    keys = tmp_path / "keys.yml"
    keys.write_text("".join(f"{name}: {key}\n" for name, key in KEYS.items()), encoding="utf-8")
    keys.chmod(0o600)
    with start_any_service(tiny_config, f"api_keys={keys}") as started:
        yield started


def post(service: Any, body: bytes, who: str, **headers: str) -> tuple[int, dict[str, Any], float]:
    """Return status, envelope, and the seconds that the exchange took."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", service.http_port, timeout=PATIENCE_S)
    try:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # refused meanwhile
            headers = {"X-API-Key": KEYS[who], **headers}
            connection.request("POST", "/waste/prediction", body, headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read()), time.monotonic() - began
    finally:
        connection.close()


@contextmanager
def crafted_bodies(service: Any) -> Iterator[list[int]]:
    """Send bodies that keep a parser at work, again and again; yields the statuses of replies."""
    statuses: list[int] = []
    over = threading.Event()

    def send() -> None:
        while not over.is_set():
            statuses.append(post(service, CRAFTED, "crafted")[0])

    senders = [threading.Thread(target=send) for _ in range(SENDERS)]
    for sender in senders:
        sender.start()
    try:
        until = time.monotonic() + PATIENCE_S
        while not statuses and time.monotonic() < until:
            time.sleep(0.01)
        yield statuses
    finally:
        over.set()
        for sender in senders:
            sender.join()


def test_a_short_deadline_is_kept_while_crafted_bodies_fill_the_parsers(
    service: Any, images: list[bytes]
) -> None:
    large = images[0] + bytes(2**20)  # its base64 is parsed in a thread
    body = json.dumps({"key": ["image"], "value": [base64.b64encode(large).decode()]}).encode()
    status, _, alone_s = post(service, body, "honest")
    assert status == 200
    with crafted_bodies(service) as crafted:
        # Before, each waited for all of the crafted bodies that had come before it.
        limit = {"X-Request-Timeout": f"{2 + 20 * alone_s:.1f}"}
        beside = [post(service, body, "honest", **limit) for _ in range(5)]
        # A body that cannot be parsed in time: the error comes, although a thread has the body.
        late = post(service, CRAFTED, "honest", **{"X-Request-Timeout": "0.1"})
    assert set(crafted) <= {200, 400, 429}
    assert [status for status, _, _ in beside] == [200] * 5
    status, envelope, seconds = late
    assert (status, envelope["err_no"]) == (504, 6000)
    assert "longer to arrive" in envelope["err_msg"]
    assert seconds < 20  # half a second on a quiet machine
