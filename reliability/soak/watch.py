"""Health, memory and file descriptors of the service during the load."""

from __future__ import annotations

import asyncio
import contextlib
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.bare import ROOT
from pipeline.engine.family import family, pss_kib

MEMORY_EVERY_S = 2.0


@dataclass(frozen=True, slots=True)
class Size:
    """Memory in MiB (Pss, so that shared pages count once) and descriptors at one moment."""

    at_s: float
    service_mib: float
    workers_mib: float
    descriptors: int


@dataclass
class Watch:
    """The measurements; health in milliseconds."""

    http_port: int
    process_id: int
    health_ms: list[float] = field(default_factory=list)
    health_missed: list[str] = field(default_factory=list)
    sizes: list[Size] = field(default_factory=list)
    _began: float = field(default_factory=time.monotonic)

    async def health(self) -> None:
        """Have a process request health, as a container engine does, until cancelled."""
        command = [sys.executable, "-m", "reliability.soak.probe", str(self.http_port)]
        probe = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        try:
            while line := await probe.stdout.readline():  # type: ignore[union-attr]
                text = line.decode().strip()
                try:
                    self.health_ms.append(float(text))
                except ValueError:
                    self.health_missed.append(text)
            self.health_missed.append("the probe ended")
        finally:
            with contextlib.suppress(ProcessLookupError):
                probe.terminate()
            await probe.wait()

    async def memory(self) -> None:
        """Measure again and again, until cancelled."""
        while True:
            self.measure()
            await asyncio.sleep(MEMORY_EVERY_S)

    def measure(self) -> Size:
        """Measure once."""
        workers = 0.0
        for pid in family(self.process_id)[1:]:
            try:
                workers += pss_kib(pid) / 1024
            except (OSError, StopIteration):
                continue  # it has just ended
        size = Size(
            time.monotonic() - self._began,
            pss_kib(self.process_id) / 1024,
            workers,
            len(list(Path(f"/proc/{self.process_id}/fd").iterdir())),
        )
        self.sizes.append(size)
        return size


def slope_a_minute(sizes: list[Size]) -> float:
    """Return by how many MiB a minute the service process grew: the least squares line."""
    if len(sizes) < 2:
        return 0.0
    times = [size.at_s / 60 for size in sizes]
    memory = [size.service_mib for size in sizes]
    mean_t, mean_m = sum(times) / len(times), sum(memory) / len(memory)
    spread = sum((t - mean_t) ** 2 for t in times)
    if spread == 0:
        return 0.0
    return sum((t - mean_t) * (m - mean_m) for t, m in zip(times, memory, strict=True)) / spread
