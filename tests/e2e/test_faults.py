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
    ("kills", "overrides"),
    [
        pytest.param(1, [], id="one-kill-with-the-default-retry"),
        # Faster than workers start: a picture may lose several, so that it needs more tries.
        pytest.param(4, ["op.waste.retry=9"], id="kill-after-kill"),
    ],
)
def test_a_worker_killed_in_the_middle_of_a_batch_loses_nothing(
    start_service: Any, root: Path, pictures: list[bytes], kills: int, overrides: list[str]
) -> None:
    config = root / "configs" / "waste.yml"
    images = pictures[:12]
    options = ["op.waste.concurrency=2", "op.waste.timeout=60000", *overrides]
    with start_service(config, *options) as service:
        with HttpClient(service.url, timeout_s=PATIENCE_S) as http, ThreadPoolExecutor(16) as pool:
            right = [http.classify(image)[0] for image in images]
            stop = threading.Event()

            def ask(number: int) -> int:
                """Classify until told to stop; return how many answers were right."""
                asked = 0
                while not stop.is_set():
                    picture = (number + asked) % len(images)
                    (best, *_) = http.classify(images[picture])
                    assert best.class_id == right[picture].class_id
                    assert best.score == pytest.approx(right[picture].score, abs=1e-4)
                    asked += 1
                return asked

            asking = [pool.submit(ask, number) for number in range(16)]
            killed = []
            try:
                for _ in range(kills):
                    time.sleep(1.0)  # under full load: a batch runs at any moment
                    killed.append(service.workers()[0])
                    os.kill(killed[-1], signal.SIGKILL)
                wait_for(lambda: len(set(service.workers()) - set(killed)) == 2)
            finally:
                stop.set()
            counts = [future.result() for future in asking]
        assert all(counts)
        assert service.stop() == 0


def test_sigterm_answers_what_runs_and_exits_0(
    start_service: Any, root: Path, pictures: list[bytes]
) -> None:
    config = root / "configs" / "waste.yml"
    values = [base64.b64encode(picture).decode() for picture in pictures]
    body = {"key": ["image"] * len(values), "value": values}
    # A busy machine may compute for longer than the ten seconds of the configuration.
    options = ("op.waste.concurrency=1", "op.waste.timeout=60000", "drain_timeout=60")
    with start_service(config, *options) as service:
        workers = service.workers()
        address = f"{service.url}/waste/prediction"
        with httpx.Client(timeout=PATIENCE_S) as http, ThreadPoolExecutor(3) as pool:
            idle = cpu_seconds(workers[0])
            # Three requests of 64 pictures keep the one worker busy past the signal.
            running = [pool.submit(http.post, address, json=body) for _ in range(3)]
            wait_for(lambda: cpu_seconds(workers[0]) > idle + 0.1)
            code = service.stop()
            answers = [future.result().json() for future in running]
    assert code == 0
    # Whatever had been taken in was answered whole; what came later was told so.
    told = {(answer["err_no"], answer["err_msg"]) for answer in answers}
    assert {number for number, _ in told} <= {0, 3001}, told
    assert any(answer["err_no"] == 0 for answer in answers)
    assert all(not Path(f"/proc/{worker}").exists() for worker in workers)


def cpu_seconds(pid: int) -> float:
    """Return how long a process has computed."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_workers_leave_when_the_service_is_killed(start_service: Any, root: Path) -> None:
    with start_service(root / "configs" / "waste.yml", "op.waste.concurrency=2") as service:
        workers = service.workers()
        assert len(workers) == 2
        service.process.kill()
        service.process.wait()
        deadline = time.monotonic() + PATIENCE_S
        while any(Path(f"/proc/{worker}").exists() for worker in workers):
            assert time.monotonic() < deadline, "workers outlived their service"
            time.sleep(0.05)


def test_live_is_answered_from_the_start_and_ready_only_later(
    start_service: Any, root: Path, free_port: int
) -> None:
    seen: list[tuple[int, int]] = []

    def watch() -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{free_port}", timeout=PATIENCE_S) as http:
            while not seen or seen[-1][1] != 200:
                try:
                    live = http.get("/health/live").status_code
                    seen.append((live, http.get("/health/ready").status_code))
                except httpx.ConnectError:
                    time.sleep(0.01)

    watcher = threading.Thread(target=watch)
    watcher.start()
    with start_service(root / "configs" / "waste.yml", f"http_port={free_port}"):
        watcher.join(60)
    assert {live for live, _ in seen} == {200}
    assert seen[0][1] == 503
    assert seen[-1][1] == 200


@pytest.mark.parametrize("seconds", [pytest.param(20, marks=pytest.mark.slow), 5])
def test_sixteen_connections_each_get_the_answer_to_their_own_picture(
    waste: Any, pictures: list[bytes], seconds: float
) -> None:
    with (
        HttpClient(waste.url, timeout_s=PATIENCE_S) as http,
        RpcClient(waste.endpoint, timeout_s=PATIENCE_S) as rpc,
    ):
        right = [{c.class_id: c.score for c in http.classify(p, topk=6)} for p in pictures]
        # The scores tell the pictures apart, or the test would prove nothing.
        assert len({tuple(round(s, 3) for s in scores.values()) for scores in right}) > 60
        deadline = time.monotonic() + seconds

        def ask(number: int) -> int:
            client = http if number % 2 else rpc
            asked = 0
            while time.monotonic() < deadline:
                picture = (number * 5 + asked) % len(pictures)
                for category in client.classify(pictures[picture], topk=6):
                    assert category.score == pytest.approx(
                        right[picture][category.class_id], abs=1e-4
                    )
                asked += 1
            return asked

        with ThreadPoolExecutor(16) as pool:
            counts = list(pool.map(ask, range(16)))
    assert all(count > 1 for count in counts)
