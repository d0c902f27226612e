"""Workers are killed, the service is stopped: nothing that was asked is lost."""

from __future__ import annotations

import base64
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from tests.patience import PATIENCE_S


@pytest.mark.parametrize(
    ("model", "kills", "overrides"),
    [
        pytest.param("waste", 1, [], id="one-kill-with-the-default-retry"),
        # Faster than workers start: an image may lose several, so that it needs more tries.
        pytest.param("tiny", 4, ["op.waste.retry=9"], id="kill-after-kill"),
    ],
)
def test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing(
    start_service: Any,
    root: Path,
    tiny_config: Path,
    images: list[bytes],
    model: str,
    kills: int,
    overrides: list[str],
) -> None:
    config = tiny_config if model == "tiny" else root / "configs" / "waste.yml"
    images = images[:12]
    options = ["op.waste.concurrency=2", "op.waste.timeout=60000", *overrides]
    with start_service(config, *options) as service:
        with HttpClient(service.url, timeout_s=PATIENCE_S) as http, ThreadPoolExecutor(16) as pool:
            right = [http.classify(image)[0] for image in images]
            stop = threading.Event()
            counts = [0] * 16

            def ask(number: int) -> None:
                """Classify until `stop` is set, and count the answers, each of them right."""
                while not stop.is_set():
                    image = (number + counts[number]) % len(images)
                    (best, *_) = http.classify(images[image])
                    assert best.class_id == right[image].class_id
                    assert best.score == pytest.approx(right[image].score, abs=1e-4)
                    counts[number] += 1

            asking = [pool.submit(ask, number) for number in range(16)]
            killed = []
            try:
                for _ in range(kills):
                    # Under full load a batch runs at any moment, once answers come again.
                    wait_for(answered_since(counts))
                    killed.append(service.workers()[0])
                    os.kill(killed[-1], signal.SIGKILL)
                wait_for(lambda: len(set(service.workers()) - set(killed)) == 2)
            finally:
                stop.set()
            for future in asking:
                future.result()
        assert all(counts)
        assert service.stop() == 0


def answered_since(counts: list[int]) -> Callable[[], bool]:
    """Return a condition: every caller has had an answer since now."""
    before = counts[:]
    return lambda: all(now > then for now, then in zip(counts, before, strict=True))


def test_sigterm_answers_what_runs_and_exits_0(
    start_any_service: Any, tiny_config: Path, images: list[bytes]
) -> None:
    values = [base64.b64encode(image).decode() for image in images]
    body = {"key": ["image"] * len(values), "value": values}
    options = ("op.waste.concurrency=1", f"drain_timeout={PATIENCE_S:.0f}")
    with start_any_service(tiny_config, *options) as service:
        (worker,) = service.workers()
        address = f"{service.url}/waste/prediction"
        with httpx.Client(timeout=PATIENCE_S) as http, ThreadPoolExecutor(3) as pool:
            os.kill(worker, signal.SIGSTOP)
            running = [pool.submit(http.post, address, json=body) for _ in range(3)]
            wait_for(lambda: open_requests(service) == 3)
            service.process.send_signal(signal.SIGTERM)
            # It refuses new requests, and the worker computes those that were taken in.
            wait_for(lambda: not is_ready(service))
            os.kill(worker, signal.SIGCONT)
            answers = [future.result().json() for future in running]
        assert service.process.wait(PATIENCE_S) == 0
    assert [answer["err_no"] for answer in answers] == [0, 0, 0]
    assert not Path(f"/proc/{worker}").exists()


def open_requests(service: Any) -> int:
    status = httpx.get(f"{service.admin}/-/status", timeout=PATIENCE_S).json()
    return int(status["services"][0]["open_requests"])


def is_ready(service: Any) -> bool:
    try:
        return httpx.get(f"{service.url}/health/ready", timeout=PATIENCE_S).status_code == 200
    except httpx.ConnectError:
        return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_workers_leave_when_the_service_is_killed(
    start_any_service: Any, tiny_config: Path
) -> None:
    with start_any_service(tiny_config, "op.waste.concurrency=2") as service:
        workers = service.workers()
        assert len(workers) == 2
        service.process.kill()
        service.process.wait()
        wait_for(lambda: not any(Path(f"/proc/{worker}").exists() for worker in workers))


WAITING_WORKER = """
import os, sys, time
while "pipeline.engine.worker" in sys.orig_argv and not os.path.exists({go!r}):
    time.sleep(0.02)
"""


def test_live_is_answered_from_the_start_and_ready_only_later(
    start_any_service: Any, tiny_config: Path, tmp_path: Path, free_port: int
) -> None:
    """Python reads `sitecustomize` first: no worker begins before both answers were seen."""
    go = tmp_path / "go"
    (tmp_path / "sitecustomize.py").write_text(WAITING_WORKER.format(go=str(go)), "utf-8")
    url = f"http://127.0.0.1:{free_port}/health"
    seen: list[tuple[int, int]] = []

    def watch() -> None:
        while not seen:
            try:
                live = httpx.get(f"{url}/live", timeout=PATIENCE_S).status_code
                seen.append((live, httpx.get(f"{url}/ready", timeout=PATIENCE_S).status_code))
            except httpx.ConnectError:
                time.sleep(0.01)
        go.touch()

    watcher = threading.Thread(target=watch)
    watcher.start()
    environment = {"PYTHONPATH": str(tmp_path)}
    with start_any_service(tiny_config, f"http_port={free_port}", environment=environment):
        watcher.join()
        assert seen == [(200, 503)]
        for path in ("live", "ready"):
            assert httpx.get(f"{url}/{path}", timeout=PATIENCE_S).status_code == 200


@pytest.mark.parametrize("requests", [pytest.param(300, marks=pytest.mark.slow), 20])
def test_sixteen_connections_each_get_the_answer_to_their_own_image(
    waste: Any, images: list[bytes], requests: int
) -> None:
    with (
        HttpClient(waste.url, timeout_s=PATIENCE_S) as http,
        RpcClient(waste.endpoint, timeout_s=PATIENCE_S) as rpc,
    ):
        right = [{c.class_id: c.score for c in http.classify(p, topk=6)} for p in images]
        # The scores tell the images apart, or the test would prove nothing.
        assert len({tuple(round(s, 3) for s in scores.values()) for scores in right}) > 60

        def ask(number: int) -> None:
            client = http if number % 2 else rpc
            for asked in range(requests):
                image = (number * 5 + asked) % len(images)
                for category in client.classify(images[image], topk=6):
                    assert category.score == pytest.approx(
                        right[image][category.class_id], abs=1e-4
                    )

        with ThreadPoolExecutor(16) as pool:
            list(pool.map(ask, range(16)))
