"""What came of a trial: counted, measured, and put into words."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass

from benchmarks.service import pss_kib

from .callers import Answers
from .services import Subject


@dataclass(frozen=True)
class Finding:
    """What came of a trial: in words for the table, and whether it is as it should be."""

    told: str
    good: bool


def told_of(answers: Answers) -> tuple[str, bool]:
    """Return the counts in words, and whether all were answered, right or with an error."""
    parts = [f"{answers.right} right"]
    counts = {
        "lost": answers.lost,
        "mixed up": answers.mixed_up,
        "wrong": answers.wrong,
    }
    parts += [f"{count} {what}" for what, count in counts.items() if count or what == "lost"]
    parts += [f"{count} x error {number}" for number, count in sorted(answers.errors.items())]
    return ", ".join(parts), not any(counts.values()) and answers.right > 0


def longest_gap(answers: Answers, happened_s: float) -> float:
    """Return the longest time without a right answer, from just before the fault on."""
    times = [t for t in answers.right_at_s if t > happened_s - 1]
    return max((later - t for t, later in itertools.pairwise(times)), default=0.0)


class Memory:
    """By how much all processes of a service together grew, Pss, at the worst moment."""

    def __init__(self, subject: Subject) -> None:
        self._subject = subject
        self._before = self._most = self._measure()

    @property
    def grown_gib(self) -> float:
        """GiB."""
        return (self._most - self._before) / 2**20

    async def watch(self) -> None:
        """Measure for ever."""
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
