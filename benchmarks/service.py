"""The real service on free ports, for as long as something is measured on it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from client.health import ask as ask_health

from .bare import ROOT

HOST = "127.0.0.1"
START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class RunningService:
    """Where a service listens, its process, and the seconds from its start until it was ready."""

    http_port: int
    rpc_port: int
    process_id: int
    start_s: float

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
        return sum(map(_pss_kib, _family(self.process_id))) / 1024


@contextlib.contextmanager
def run_service(config: Path, overrides: Sequence[str]) -> Iterator[RunningService]:
    """Start `config` with `-o` overrides, yield it ready, and stop it.

    Raises:
        SystemExit: it did not become ready.
    """
    with contextlib.ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(2)]
        http_port, rpc_port = (probe.getsockname()[1] for probe in probes)
    command = [sys.executable, "pipeline/web_service.py", "--config", str(config)]
    ports = (f"host={HOST}", f"http_port={http_port}", f"rpc_port={rpc_port}")
    for override in (*ports, *overrides):
        command += ["-o", override]
    started = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
    try:
        _wait(process, f"http://{HOST}:{http_port}/health/ready")
        yield RunningService(http_port, rpc_port, process.pid, time.monotonic() - started)
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ask_health(url)[0]:
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit("error: the service did not become ready; see its message above")
        time.sleep(0.05)


def _family(process_id: int) -> list[int]:
    """Return the process and all its descendants."""
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return [process_id, *(pid for child in children for pid in _family(int(child)))]


def _pss_kib(process_id: int) -> int:
    rollup = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
