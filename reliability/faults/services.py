"""The two services, each started as its user starts it, with the same model and as many workers."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.bare import ROOT
from benchmarks.service import HOST, run_service
from pipeline.engine.family import family

from .inputs import QUEUE_SIZE, SERVICE, TIMEOUT_S, WORKERS, Inputs

OFFICIAL_PYTHON = ROOT / "build" / "paddle-serving-env" / "bin" / "python"
START_TIMEOUT_S = 120.0
OURS, OFFICIAL = "paddle-serving-kit", "Paddle Serving 0.9"


@dataclass(frozen=True)
class Subject:
    """A running service; `workers` returns the processes that hold a model now."""

    name: str
    http_port: int
    rpc_port: int
    process: subprocess.Popen[bytes]
    workers: Callable[[], list[int]]
    admin_port: int | None = None

    def everything(self) -> list[int]:
        """Return all processes of the service that run now."""
        with contextlib.suppress(OSError):
            return family(self.process.pid)
        return []


@contextlib.contextmanager
def our_service(inputs: Inputs) -> Iterator[Subject]:
    """Start this project's service."""
    config = inputs.folder / "ours.yml"
    tree = {"dag": {"channel_size": QUEUE_SIZE}, "op": {SERVICE: _op(inputs.bundle)}}
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with (
        (inputs.folder / "ours.log").open("w", encoding="utf-8") as log,
        run_service(config, [], log=log) as running,
    ):
        yield Subject(
            OURS,
            running.http_port,
            running.rpc_port,
            running.process,
            lambda: family(running.process_id)[1:],
            running.admin_port,
        )


@contextlib.contextmanager
def official_service(inputs: Inputs, *, threads: bool = False) -> Iterator[Subject]:
    """Start Paddle Serving 0.9 as its tutorials do; with `threads` in its default mode."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(2)]
        http_port, rpc_port = (probe.getsockname()[1] for probe in probes)
    config, pids = inputs.folder / "official.yml", inputs.folder / "pids"
    pids.write_text("", encoding="ascii")
    tree = {
        "http_port": http_port,
        "rpc_port": rpc_port,
        "worker_num": 64,
        "dag": {"is_thread_op": threads, "channel_size": QUEUE_SIZE},
        "op": {SERVICE: _op(inputs.bundle)},
    }
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    script = Path(__file__).with_name("plain_service.py")
    with (inputs.folder / "official.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [str(OFFICIAL_PYTHON), str(script), str(config), str(pids)],
            cwd=inputs.folder,
            env={**os.environ, "SERVING_LOG_PATH": str(inputs.folder)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        # In its thread mode all predictors live in one process.
        _wait(process, http_port, pids, 1 if threads else WORKERS)
        yield Subject(OFFICIAL, http_port, rpc_port, process, lambda: _running(pids))
    finally:
        # Some of its processes outlive their parents; the process group has all of them.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _op(bundle: Path) -> dict[str, object]:
    return {
        "concurrency": WORKERS,
        "timeout": int(TIMEOUT_S * 1000),
        "local_service_conf": {
            "client_type": "local_predictor",
            "model_config": str(bundle / "serving_server"),
            "device_type": 0,
            "devices": "",
            "thread_num": 1,
            "ir_optim": True,
            "use_mkldnn": True,
            "fetch_list": ["prediction"],
        },
    }


def _running(pids: Path) -> list[int]:
    written = [int(line) for line in pids.read_text(encoding="ascii").split()]
    return [pid for pid in dict.fromkeys(written) if exists(pid)]


def exists(pid: int) -> bool:
    """Whether the process is there; a zombie counts as ended."""
    return _state(pid) not in ("Z", "")


def at_work(pid: int) -> bool:
    """Whether the process is there and not stopped."""
    return _state(pid) not in ("Z", "T", "")


def _state(pid: int) -> str:
    """Return the letter of proc(5), empty for no process."""
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0]
    return ""


def _wait(process: subprocess.Popen[bytes], port: int, pids: Path, workers: int) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while True:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("error: Paddle Serving 0.9 did not start; see official.log")
        with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=1):
            if len(_running(pids)) >= workers:
                time.sleep(2.0)  # its own threads come up; there is no sign of when they are ready
                return
        time.sleep(0.1)
