"""Configuration and bundles are loaded anew under load: nothing is lost, nothing half-changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from pipeline.__main__ import main as pipeline
from protocol.errors import ServiceClosed
from tests.patience import PATIENCE_S

OLD = [f"old {number}" for number in range(3)]
NEW = [f"new {number}" for number in range(3)]

CONFIG = """\
http_port: 0
rpc_port: 0
op:
  waste:
    concurrency: 2
    timeout: 60000
    labels: labels.txt
    local_service_conf:
      model_config: sorter
"""


@pytest.fixture
def folder(tiny_model: Path, tmp_path: Path) -> Path:
    """A configuration with a bundle and a label file of its own."""
    shutil.copytree(tiny_model, tmp_path / "sorter")
    write_labels(tmp_path, OLD)
    (tmp_path / "config.yml").write_text(CONFIG, encoding="utf-8")
    return tmp_path


@pytest.fixture
def service(start_any_service: Any, folder: Path) -> Iterator[Any]:
    with start_any_service(folder / "config.yml") as running:
        yield running


def write_labels(folder: Path, labels: list[str]) -> None:
    (folder / "labels.txt").write_text("\n".join(labels), encoding="utf-8")


def reload(service: Any) -> httpx.Response:
    return httpx.post(f"{service.admin}/-/reload", timeout=PATIENCE_S)


def status(service: Any) -> dict[str, Any]:
    answer: dict[str, Any] = httpx.get(f"{service.admin}/-/status", timeout=PATIENCE_S).json()
    return answer


def hang_up(service: Any) -> None:
    """Reload by SIGHUP, and wait until it is done."""
    before = status(service)["last_reload"]
    service.process.send_signal(signal.SIGHUP)
    wait_for(lambda: status(service)["last_reload"] != before)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["POST", "SIGHUP"])
def test_reloads_under_load_lose_nothing(
    service: Any, folder: Path, images: list[bytes], how: str
) -> None:
    images = images[:12]
    stop = threading.Event()
    with (
        HttpClient(service.url, timeout_s=PATIENCE_S) as http,
        RpcClient(service.endpoint, timeout_s=PATIENCE_S) as rpc,
        ThreadPoolExecutor(8) as pool,
    ):
        right = [http.classify(image)[0] for image in images]

        def ask(number: int) -> set[str]:
            """Classify until `stop` is set; return the kinds of labels that were seen."""
            client = http if number % 2 else rpc
            kinds, asked = set(), number
            while not stop.is_set():
                image = asked % len(images)
                (best, *_) = client.classify(images[image])
                assert best.class_id == right[image].class_id
                assert best.score == pytest.approx(right[image].score, abs=1e-4)
                kind, class_id = best.label.split()
                assert int(class_id) == best.class_id
                kinds.add(kind)
                asked += 1
            return kinds

        asking = [pool.submit(ask, number) for number in range(8)]
        try:
            for labels in (NEW, OLD, NEW):
                write_labels(folder, labels)
                if how == "POST":
                    assert reload(service).json()["status"] == "reloaded"
                else:
                    hang_up(service)
                # From the answer on, every request is one of the new engines'.
                assert http.classify(images[0])[0].label.split()[0] == labels[0].split()[0]
                assert rpc.classify(images[0])[0].label.split()[0] == labels[0].split()[0]
        finally:
            stop.set()
        kinds = [future.result() for future in asking]
    assert set().union(*kinds) == {"old", "new"}
    wait_for(lambda: len(service.workers()) == 2)  # the old ones have gone
    counters = status(service)["services"][0]["counters"]
    lost = {name: counters[name] for name in ("failed", "expired", "abandoned", "rejected")}
    assert set(lost.values()) == {0}
    assert counters["answered"] == counters["admitted"] > 0
    assert service.stop() == 0


def truncate_model(folder: Path) -> None:
    model = folder / "sorter" / "serving_server" / "inference.onnx"
    os.truncate(model, model.stat().st_size // 2)


def rewrite(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        assert old in CONFIG
        text = CONFIG.replace(old, new)
        (folder / "config.yml").write_text(text, encoding="utf-8")

    return change


BROKEN: dict[str, tuple[Callable[[Path], None], str]] = {
    "no-yaml": (rewrite("op:", "op: ]["), "config.yml"),
    "unknown-key": (rewrite("timeout", "tmeout"), "timeout"),
    "fixed-key": (rewrite("rpc_port: 0", "max_body_mb: 3"), "max_body_mb: "),
    "no-config": (lambda folder: (folder / "config.yml").unlink(), "config.yml"),
    "no-labels": (lambda folder: (folder / "labels.txt").unlink(), "labels.txt"),
    "labels-do-not-fit": (lambda folder: write_labels(folder, NEW[:2]), "2 labels"),
    "no-bundle": (lambda folder: shutil.rmtree(folder / "sorter"), "sorter"),
    "half-a-bundle": (truncate_model, "inference.onnx"),
}


def test_a_bad_reload_changes_nothing(
    start_any_service: Any, folder: Path, images: list[bytes], tmp_path_factory: Any
) -> None:
    sound = tmp_path_factory.mktemp("sound") / "folder"
    shutil.copytree(folder, sound)
    with (
        start_any_service(folder / "config.yml", "op.waste.concurrency=1") as service,
        HttpClient(service.url, timeout_s=PATIENCE_S) as http,
    ):
        before = http.classify(images[0])
        workers = service.workers()
        for name, (breaking, cause) in BROKEN.items():
            breaking(folder)
            response = reload(service)
            assert (response.status_code, response.json()["status"]) == (409, "unchanged"), name
            error = response.json()["error"]
            assert cause in error, name
            assert "\n" not in error, name
            assert status(service)["last_reload"]["error"] == error
            assert http.classify(images[0]) == before
            assert service.workers() == workers
            shutil.rmtree(folder / "sorter", ignore_errors=True)
            shutil.copytree(sound, folder, dirs_exist_ok=True)
        metrics = httpx.get(f"{service.admin}/metrics", timeout=PATIENCE_S).text
        assert f'serving_reloads_total{{outcome="failed"}} {len(BROKEN)}.0' in metrics
        assert reload(service).json()["status"] == "reloaded"
        assert service.workers() != workers
    assert sum("not reloaded" in line for line in service.err) == len(BROKEN)


def test_services_come_and_go(service: Any, folder: Path, images: list[bytes]) -> None:
    more = CONFIG + CONFIG.partition("op:\n")[2].replace("waste:", "sorting:")
    (folder / "config.yml").write_text(more.replace("concurrency: 2", "concurrency: 1"))
    assert reload(service).json()["services"] == ["waste", "sorting"]
    with HttpClient(service.url, service="sorting") as http:
        assert http.classify(images[0])[0].label.startswith("old")
    (folder / "config.yml").write_text(CONFIG.replace("waste:", "sorting:"))
    assert reload(service).json()["services"] == ["sorting"]
    answer = httpx.post(f"{service.url}/waste/prediction", content=images[0], timeout=PATIENCE_S)
    assert (answer.status_code, answer.json()["err_no"]) == (404, 3002)
    assert "services: sorting" in answer.json()["err_msg"]
    assert set(httpx.get(f"{service.url}/health/ready", timeout=PATIENCE_S).json()["services"]) == {
        "sorting"
    }


def test_two_reloads_at_once_come_one_after_the_other(service: Any) -> None:
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: reload(service).json()["status"], range(2)))
    assert answers == ["reloaded", "reloaded"]
    wait_for(lambda: len(service.workers()) == 2)


def test_a_stop_in_the_middle_of_a_reload(service: Any, folder: Path) -> None:
    with ThreadPoolExecutor(1) as pool:
        reloading = pool.submit(reload, service)
        wait_for(lambda: len(service.workers()) > 2)
        assert service.stop() == 0
        answer = reloading.result()
        assert (answer.status_code, answer.json()["status"]) == (409, "unchanged")
        assert "stopping" in answer.json()["error"]
    assert service.workers() == []


def test_a_label_file_that_vanishes_stops_nothing(
    service: Any, folder: Path, images: list[bytes]
) -> None:
    (folder / "labels.txt").unlink()
    with HttpClient(service.url, timeout_s=PATIENCE_S) as http:
        best = http.classify(images[0])[0]
        assert best.label == f"old {best.class_id}"
        killed = service.workers()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        # The workers that are started in their place have no file to read, and need none.
        wait_for(lambda: len(set(service.workers()) - set(killed)) == 2)
        for image in images[:8]:
            best = http.classify(image)[0]
            assert best.label == f"old {best.class_id}"


def test_workers_that_cannot_start_are_reported_and_recover(
    start_any_service: Any, folder: Path, images: list[bytes]
) -> None:
    with start_any_service(folder / "config.yml", "op.waste.concurrency=1") as service:
        (folder / "sorter").rename(folder / "elsewhere")
        os.kill(service.workers()[0], signal.SIGKILL)
        ready = f"{service.url}/health/ready"
        address = f"{service.url}/waste/prediction"
        image: dict[str, Any] = {
            "content": images[0],
            "headers": {"Content-Type": "image/jpeg"},
        }
        wait_for(lambda: status(service)["services"][0]["workers"][0]["restarts"] >= 3)
        # No one is kept waiting for what does not come; the process itself is alive.
        answer = httpx.post(address, **image, timeout=PATIENCE_S)
        assert (answer.status_code, answer.json()["err_no"]) == (503, 3005)
        assert "Retry-After" in answer.headers
        assert httpx.get(ready, timeout=PATIENCE_S).json()["services"] == {"waste": "not ready"}
        assert httpx.get(f"{service.url}/health/live", timeout=PATIENCE_S).status_code == 200
        assert "sorter" in json.dumps(status(service)["services"][0]["workers"][0]["cause"])
        (folder / "elsewhere").rename(folder / "sorter")
        wait_for(lambda: httpx.get(ready, timeout=PATIENCE_S).status_code == 200)
        assert httpx.post(address, **image, timeout=PATIENCE_S).json()["err_no"] == 0


def test_a_worker_started_again_takes_no_other_bundle_than_its_neighbours(
    start_any_service: Any, folder: Path, images: list[bytes]
) -> None:
    """Files are copied over the bundle that is served: labels of another model, as it were."""
    (folder / "config.yml").write_text(CONFIG.replace("    labels: labels.txt\n", ""))
    description = folder / "sorter" / "serving_server" / "inference.yml"
    text = description.read_text(encoding="utf-8")

    def workers(key: str) -> list[str]:
        return [worker[key] or "" for worker in status(service)["services"][0]["workers"]]

    with start_any_service(folder / "config.yml") as service, HttpClient(service.url) as http:
        wait_for(lambda: workers("state") == ["idle", "idle"])
        before = http.classify(images[0])[0].label
        assert before in text
        description.write_text(text.replace(before, "new"), encoding="utf-8")
        os.kill(service.workers()[0], signal.SIGKILL)
        wait_for(
            lambda: any("inference.yml has another content" in cause for cause in workers("cause"))
        )
        assert {http.classify(images[0])[0].label for _ in range(10)} == {before}
        # A reload takes the new files, in all workers.
        assert reload(service).json()["status"] == "reloaded"
        assert {http.classify(images[0])[0].label for _ in range(10)} == {"new"}
        assert workers("cause") == ["", ""]
        wait_for(lambda: len(service.workers()) == 2)

        # One that is refused leaves the new ones serving, and what no worker can load is reported.
        truncate_model(folder)
        assert reload(service).status_code == 409
        assert http.classify(images[0])[0].label == "new"
        for pid in service.workers():
            os.kill(pid, signal.SIGKILL)
        wait_for(lambda: all("inference.onnx" in cause for cause in workers("cause")))
        answer = httpx.post(
            f"{service.url}/waste/prediction",
            content=images[0],
            headers={"Content-Type": "image/jpeg"},
            timeout=PATIENCE_S,
        )
        assert (answer.status_code, answer.json()["err_no"]) == (503, 3005)
        assert "reload the service" in answer.json()["err_msg"]
        assert str(folder) not in answer.text


@pytest.mark.parametrize("end", ["answer", "stop"])
def test_what_runs_at_a_reload_has_its_own_time_and_not_that_of_a_stop(
    start_any_service: Any, folder: Path, images: list[bytes], end: str
) -> None:
    overrides = ("op.waste.concurrency=1", "drain_timeout=0")
    with (
        start_any_service(folder / "config.yml", *overrides) as service,
        HttpClient(service.url, timeout_s=PATIENCE_S) as http,
        ThreadPoolExecutor(1) as pool,
    ):
        (slow,) = service.workers()
        os.kill(slow, signal.SIGSTOP)
        asking = pool.submit(http.classify, images[0])
        wait_for(lambda: status(service)["services"][0]["open_requests"] == 1)
        assert reload(service).json()["status"] == "reloaded"
        with HttpClient(service.url, timeout_s=PATIENCE_S) as other:
            other.classify(images[0])
        if end == "answer":
            os.kill(slow, signal.SIGCONT)
            assert asking.result()[0].label.startswith("old")
            wait_for(lambda: slow not in service.workers())
        else:
            assert service.stop() == 1
            with pytest.raises(ServiceClosed, match=r"stopped (or replaced|before it replied)"):
                asking.result()


def test_the_command_reloads_and_says_what_is_served(
    service: Any, folder: Path, images: list[bytes], in_process: Callable[..., Any]
) -> None:
    write_labels(folder, NEW)
    done = in_process(pipeline, "reload", "--url", service.admin)
    assert (done.returncode, done.stderr) == (0, "")
    headline, name, model = done.stdout.splitlines()[:3]
    assert headline.startswith("reloaded in ")
    assert name == "waste"
    assert model.startswith(f"  model {folder.resolve()}/sorter/")
    with HttpClient(service.url) as client:
        assert client.classify(images[0])[0].label in NEW
    (folder / "config.yml").write_text(CONFIG + "    topk: 0\n", encoding="utf-8")
    done = in_process(pipeline, "reload", "--url", service.admin)
    assert done.returncode == 1
    assert "not reloaded, nothing has changed" in done.stderr
    assert "op.waste.topk" in done.stderr


def test_a_longer_timeout_gets_its_bucket_of_latency(service: Any, folder: Path) -> None:
    metrics = f"{service.admin}/metrics"
    httpx.post(f"{service.url}/waste/prediction", content=b"no image", timeout=PATIENCE_S)
    assert 'seconds_bucket{le="60.0"' in httpx.get(metrics, timeout=PATIENCE_S).text
    longer = CONFIG.replace("timeout: 60000", "timeout: 90000")
    (folder / "config.yml").write_text(longer, encoding="utf-8")
    assert reload(service).status_code == 200
    httpx.post(f"{service.url}/waste/prediction", content=b"no image", timeout=PATIENCE_S)
    assert 'seconds_bucket{le="90.0"' in httpx.get(metrics, timeout=PATIENCE_S).text
