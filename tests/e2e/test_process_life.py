"""The life of the process: signals in its first second, streams, addresses, a pause of it all."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.patience import PATIENCE_S

ASCII = {"PYTHONIOENCODING": "ascii", "LC_ALL": "C"}


def handles(pid: int, number: int) -> bool:
    """Whether the process has a handler for a signal."""
    caught = re.search(r"^SigCgt:\t(\w+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    return bool(caught and int(caught[1], 16) >> (number - 1) & 1)


def loaded(pid: int, library: str) -> bool:
    """Whether the process has loaded a library: then most of its imports are done."""
    return library in Path(f"/proc/{pid}/maps").read_text()


@contextlib.contextmanager
def in_namespace(root: Path, config: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A service as process 1 of a namespace, which began just now, and its number outside of it."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if subprocess.run([*command, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no namespaces of processes here")
    process = subprocess.Popen(
        [*command, sys.executable, "pipeline/web_service.py", "--config", str(config)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + PATIENCE_S
        while not (child := children.read_text().split()):
            assert time.monotonic() < deadline
        yield process, int(child[0])
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("moment", ["first-handler", "imports-done"])
def test_sigterm_in_the_first_second_stops_process_1(
    root: Path, tiny_config: Path, moment: str
) -> None:
    """The kernel drops a SIGTERM for which process 1 has no handler."""
    with in_namespace(root, tiny_config) as (process, pid):
        deadline = time.monotonic() + PATIENCE_S
        while not (
            handles(pid, signal.SIGTERM) if moment == "first-handler" else loaded(pid, "cygrpc")
        ):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        assert moment != "first-handler" or not loaded(pid, "cv2")
        os.kill(pid, signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_ctrl_c_in_the_first_second_prints_no_stack_trace(root: Path, tiny_config: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "--config", str(tiny_config)],
        cwd=root,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not handles(process.pid, signal.SIGTERM):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE_S)
    assert (process.returncode, err) == (0, "")


@pytest.fixture
def chinese_config(tiny_model: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_model, tmp_path / "垃圾分类")
    op = {"concurrency": 1, "local_service_conf": {"model_config": "垃圾分类"}}
    tree = {"http_port": 0, "rpc_port": 0, "op": {"waste": op}}
    (tmp_path / "配置.yml").write_text(yaml.safe_dump(tree, allow_unicode=True), encoding="utf-8")
    return tmp_path / "配置.yml"


def test_a_terminal_without_chinese_stops_no_service(
    start_any_service: Any, chinese_config: Path
) -> None:
    with start_any_service(chinese_config, environment=ASCII) as service:
        assert "\\u5783\\u573e\\u5206\\u7c7b" in "".join(service.out)
        assert httpx.get(f"{service.url}/health/ready", timeout=PATIENCE_S).status_code == 200
        shown = subprocess.run(
            [sys.executable, "-m", "pipeline", "status", "--url", service.admin],
            env={**os.environ, **ASCII},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (shown.returncode, shown.stderr) == (0, "")
        assert "\\u5783\\u573e" in shown.stdout
        assert service.stop() == 0


def test_a_reader_of_stdout_that_leaves_stops_no_service(
    root: Path, tiny_config: Path, tmp_path: Path
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [sys.executable, "pipeline/web_service.py", "--config", str(tiny_config)],
        cwd=root,
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.close(writing)
    assert process.stderr is not None
    first = process.stderr.readline()
    assert "cannot print that it is ready" in first
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE_S) == 0
    assert "BrokenPipe" not in process.stderr.read()
    process.stderr.close()


COMMANDS = {
    "check": lambda config: ["-m", "pipeline", "--check", "--config", str(config)],
    "inspect": lambda config: ["-m", "converter", "inspect", str(config.parent / "垃圾分类")],
    "unknown-option": lambda _config: ["-m", "client.http_client", "--没有"],
    "no-image": lambda config: ["-m", "client.http_client", str(config.parent / "没有.jpg")],
    "no-health": lambda _config: ["-m", "client.health", "http://127.0.0.1:1/健康"],
    "no-data": lambda config: ["-m", "tools.datasets", "check", str(config.parent / "没有")],
    "no-bundle": lambda config: ["-m", "pipeline", "--config", str(config.parent / "没有.yml")],
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_ends_over_a_letter(chinese_config: Path, root: Path, name: str) -> None:
    command = COMMANDS[name](chinese_config)
    ended = subprocess.run(
        [sys.executable, *command],
        cwd=root,
        env={**os.environ, **ASCII},
        capture_output=True,
        check=False,
    )
    assert b"Traceback" not in ended.stderr
    assert b"UnicodeEncodeError" not in ended.stderr
    assert ended.returncode in ((0,) if name in ("check", "inspect") else (1, 2))
    assert (ended.stdout + ended.stderr).isascii()


def test_ipv6_addresses_stand_in_brackets(start_any_service: Any, tiny_config: Path) -> None:
    ports: tuple[str, ...] = ("host=::1", "admin.host=::1", "dag.enable_prometheus=true")
    with start_any_service(
        tiny_config, *ports, "dag.prometheus_port=0", "op.waste.concurrency=1"
    ) as service:
        out = "".join(service.out)
        for path in ("/health/ready", "/metrics", ""):
            for url in re.findall(rf"(http://\S+{path})(?:\s|$)", out):
                assert url.startswith("http://[::1]:"), out
        url = re.search(r"http://\S+/health/ready", out)
        admin = re.search(r"admin +(http://\S+)", out)
        rpc = re.search(r"rpc +(\S+),", out)
        assert url, out
        assert admin, out
        assert rpc, out
        assert httpx.get(url[0], timeout=PATIENCE_S).status_code == 200
        assert httpx.get(f"{admin[1]}/-/status", timeout=PATIENCE_S).status_code == 200
        assert re.fullmatch(r"\[::1\]:\d+", rpc[1])


SLOW = """\
import time
from pipeline.classifier import Classifier

class Slow(Classifier):
    @classmethod
    def from_settings(cls, settings):
        time.sleep(1.0)
        return super().from_settings(settings)

    def decode(self, data):
        time.sleep(1.0)
        return super().decode(data)
"""


@pytest.mark.parametrize("moment", ["batch", "start"])
def test_a_pause_of_everything_ends_no_healthy_worker(
    start_any_service: Any, tiny_config: Path, images: list[bytes], tmp_path: Path, moment: str
) -> None:
    """`docker pause` stops the service and its workers, and not the clock."""
    (tmp_path / "slow.py").write_text(SLOW)
    settings = ("op.waste.classifier=slow:Slow", "op.waste.concurrency=1", "op.waste.timeout=1500")
    limits = ("op.waste.start_timeout=15",) if moment == "start" else ()
    path = {"PYTHONPATH": str(tmp_path)}
    with start_any_service(tiny_config, *settings, *limits, environment=path) as service:
        (worker,) = service.workers()
        if moment == "start":
            os.kill(worker, signal.SIGKILL)
            deadline = time.monotonic() + PATIENCE_S
            while service.workers() in ([], [worker]):
                assert time.monotonic() < deadline
            (worker,) = service.workers()
        with ThreadPoolExecutor(1) as pool:
            asking = pool.submit(
                httpx.post,
                f"{service.url}/waste/prediction",
                content=images[0],
                headers={"Content-Type": "image/jpeg"},
                timeout=PATIENCE_S,
            )
            while moment == "batch" and status(service)["workers"][0]["state"] != "busy":
                time.sleep(0.01)
            # Longer than a batch (2.5 s) or a start (15 s) may take.
            for pid in (service.process.pid, worker):
                os.kill(pid, signal.SIGSTOP)
            time.sleep(4.0 if moment == "batch" else 17.0)
            for pid in (service.process.pid, worker):
                os.kill(pid, signal.SIGCONT)
            asking.result()
        deadline = time.monotonic() + PATIENCE_S
        while status(service)["workers"][0]["state"] != "idle":
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert service.workers() == [worker]
        assert status(service)["counters"]["restarts"] == (1 if moment == "start" else 0)


def status(service: Any) -> dict[str, Any]:
    reply = httpx.get(f"{service.admin}/-/status", timeout=PATIENCE_S)
    found: dict[str, Any] = reply.json()["services"][0]
    return found
