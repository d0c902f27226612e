"""What an attack costs: memory and processor time of the service, and what honest callers got."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import statistics
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.bare import ROOT
from pipeline.engine.family import family, pss_kib

from .probe import HEALTH, RIGHT
from .target import Attacked

SAMPLE_EVERY_S = 0.2
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Usage:
    """Memory in MiB (Pss) and processor seconds of the service process and of its workers."""

    service_mib: float = 0.0
    workers_mib: float = 0.0
    service_s: float = 0.0
    workers_s: float = 0.0


def usage(process_id: int) -> Usage:
    """Measure now; a process that has just ended counts nothing."""
    service_mib = workers_mib = service_s = workers_s = 0.0
    with contextlib.suppress(OSError, StopIteration, IndexError):
        own, *workers = family(process_id)
        service_mib, service_s = pss_kib(own) / 1024, _processor_s(own)
        for pid in workers:
            with contextlib.suppress(OSError, StopIteration, IndexError):
                workers_mib += pss_kib(pid) / 1024
                workers_s += _processor_s(pid)
    return Usage(service_mib, workers_mib, service_s, workers_s)


def _processor_s(process_id: int) -> float:
    """Return user and system time of a process, see proc(5)."""
    text = Path(f"/proc/{process_id}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


@dataclass
class Observation:
    """What was measured in the time of one attack; growth is that of the highest sample."""

    seconds: float = 0.0
    sent: int = 0
    service_grown_mib: float = 0.0
    workers_grown_mib: float = 0.0
    service_s: float = 0.0
    workers_s: float = 0.0
    health_ms: list[float] = field(default_factory=list)
    health_missed: list[str] = field(default_factory=list)
    honest: Counter[str] = field(default_factory=Counter)  # by outcome
    honest_ms: list[float] = field(default_factory=list)  # of the right ones
    reasons: Counter[str] = field(default_factory=Counter)  # of those that are not right
    restarts: int = 0
    traces: int = 0
    problems: list[str] = field(default_factory=list)  # what the attack itself saw

    @property
    def health_most_ms(self) -> float:
        """The slowest reply to health."""
        return max(self.health_ms, default=0.0)

    @property
    def honest_median_ms(self) -> float:
        """The median time of an honest prediction with a result."""
        return statistics.median(self.honest_ms) if self.honest_ms else 0.0

    @property
    def asked(self) -> int:
        """How many honest predictions were sent."""
        return self.honest.total()

    @property
    def refused_share(self) -> float:
        """The share of honest predictions that had no result, and a right error."""
        return self.honest["refused"] / max(1, self.asked)

    def add(self, line: dict[str, Any]) -> None:
        """Count a line of the probe."""
        if line["what"] != HEALTH:
            self.honest[line["outcome"]] += 1
            if line["outcome"] == RIGHT:
                self.honest_ms.append(line["ms"])
            else:
                self.reasons[f"{line['what']}: {line['outcome']} {line['reason']}"] += 1
        elif line["outcome"] == RIGHT:
            self.health_ms.append(line["ms"])
        else:
            self.health_missed.append(line["reason"])

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-able; of health the slowest, of honest ones the median."""
        fields = {**vars(self), "honest": dict(self.honest), "reasons": dict(self.reasons)}
        health = {"health_ms": self.health_most_ms, "health_replies": len(self.health_ms)}
        return {**fields, **health, "honest_ms": self.honest_median_ms}

    def sample(self, before: Usage, now: Usage) -> None:
        """Take a sample."""
        self.service_grown_mib = max(self.service_grown_mib, now.service_mib - before.service_mib)
        self.workers_grown_mib = max(self.workers_grown_mib, now.workers_mib - before.workers_mib)
        self.service_s = max(self.service_s, now.service_s - before.service_s)
        self.workers_s = max(self.workers_s, now.workers_s - before.workers_s)


class Watch:
    """Honest callers and samples of memory, as long as the service runs."""

    def __init__(self, process_id: int) -> None:
        self._process_id = process_id
        self._observation: Observation | None = None
        self._before = Usage()

    @contextlib.asynccontextmanager
    async def running(self, service: Attacked) -> AsyncIterator[None]:
        """Run the probe."""
        arguments = (str(service.http_port), str(service.rpc_port), service.service)
        command = [sys.executable, "-m", f"{__package__}.probe", *arguments]
        key = service.honest_key
        probe = await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "PADDLE_SERVING_KIT_API_KEY": key},
        )  # fmt: skip
        reading = asyncio.create_task(self._read(probe))
        sampling = asyncio.create_task(self._sample())
        try:
            yield
        finally:
            for task in (reading, sampling):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
            with contextlib.suppress(ProcessLookupError):
                probe.terminate()
            await probe.wait()

    @contextlib.contextmanager
    def observing(self, observation: Observation) -> Iterator[None]:
        """Count what happens now in `observation`."""
        self._before = usage(self._process_id)
        self._observation = observation
        try:
            yield
        finally:
            observation.sample(self._before, usage(self._process_id))
            self._observation = None

    async def _read(self, probe: asyncio.subprocess.Process) -> None:
        while line := await probe.stdout.readline():  # type: ignore[union-attr]
            if self._observation is not None:
                self._observation.add(json.loads(line))

    async def _sample(self) -> None:
        while True:
            await asyncio.sleep(SAMPLE_EVERY_S)
            if self._observation is not None:
                now = await asyncio.to_thread(usage, self._process_id)
                if self._observation is not None:
                    self._observation.sample(self._before, now)
