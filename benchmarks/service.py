"""Runs the real service on free ports, to measure it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from client.health import check as check_health
from pipeline.engine.family import family, pss_kib

from .bare import ROOT

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class RunningService:
    """Where a service listens, its process, and the seconds from its start until it was ready."""

    http_port: int
    rpc_port: int
    admin_port: int
    process: subprocess.Popen[bytes]
    start_s: float

    @property
    def process_id(self) -> int:
        """The number of the service process."""
        return self.process.pid

    def stop(self) -> int:
        """Send SIGTERM, wait for the end, and return the exit code."""
        self.process.terminate()
        return self.process.wait()

    @property
    def url(self) -> str:
        """The address of HTTP."""
        return f"http://{HOST}:{self.http_port}"

    @property
    def endpoint(self) -> str:
        """The address of RPC."""
        return f"{HOST}:{self.rpc_port}"

    def memory_mib(self) -> float:
        """Return the memory of the service and its workers in MiB; pages they share count once.

        The sum of Pss in /proc/PID/smaps_rollup (proc(5)), so Linux only.
        """
        return sum(map(pss_kib, family(self.process_id))) / 1024


@contextlib.contextmanager
def run_service(
    config: Path, overrides: Sequence[str], log: IO[str] | None = None
) -> Iterator[RunningService]:
    """Start `config` with `-o` overrides, yield it ready, and stop it; it logs to `log`.

    Raises:
        SystemExit: it did not become ready.
    """
    http_port, rpc_port, admin_port = free_ports(3)
    command = [sys.executable, "pipeline/web_service.py", "--config", str(config)]
    ports = (f"http_port={http_port}", f"rpc_port={rpc_port}", f"admin.port={admin_port}")
    for override in (f"host={HOST}", *ports, *overrides):
        command += ["-o", override]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=log)
    try:
        _wait(process, f"http://{HOST}:{http_port}/health/ready")
        start_s = time.monotonic() - started
        yield RunningService(http_port, rpc_port, admin_port, process, start_s)
    finally:
        process.terminate()
        process.wait()


def free_ports(count: int) -> list[int]:
    """Return ports of this machine that no program listens on now."""
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [probe.getsockname()[1] for probe in probes]


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not check_health(url)[0]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("error: the service did not become ready; see its message above")
        time.sleep(0.05)
