"""Findings of a trial: counts and measurements, and their text."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from pipeline.engine.family import pss_kib

from .callers import Counts
from .services import Subject


@dataclass(frozen=True)
class Finding:
    """The result of a trial: a text for the table, and whether the service did what it should."""

    text: str
    good: bool


def summary(counts: Counts) -> tuple[str, bool]:
    """Return the counts as text, and whether every request had a right result or an error."""
    parts = [f"{counts.right} right"]
    faults = {
        "lost": counts.lost,
        "mixed up": counts.mixed_up,
        "wrong": counts.wrong,
    }
    parts += [f"{count} {what}" for what, count in faults.items() if count or what == "lost"]
    parts += [f"{count} x error {number}" for number, count in sorted(counts.errors.items())]
    return ", ".join(parts), not any(faults.values()) and counts.right > 0


def longest_gap(counts: Counts, happened_s: float) -> float:
    """Return the longest time without a right answer, from just before the fault on."""
    times = [t for t in counts.right_at_s if t > happened_s - 1]
    return max((later - t for t, later in itertools.pairwise(times)), default=0.0)


class Memory:
    """The growth of all processes of a service together, as Pss, at its highest."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._before = self._most = self._measure()

    @property
    def grown_gib(self) -> float:
        """The growth in GiB."""
        return (self._most - self._before) / 2**20

    async def watch(self) -> None:
        """Measure until cancelled."""
        while True:
            self._most = max(self._most, await asyncio.to_thread(self._measure))
            await asyncio.sleep(0.1)

    def _measure(self) -> int:
        kib = 0
        for pid in self._subject.everything():
            with contextlib.suppress(OSError, StopIteration):  # it has just ended
                kib += pss_kib(pid)
        return kib


@contextlib.asynccontextmanager
async def watching(subject: Subject) -> AsyncIterator[Memory]:
    """Measure as long as the context lasts."""
    memory = Memory(subject)
    measuring = asyncio.create_task(memory.watch())
    try:
        yield memory
    finally:
        measuring.cancel()
