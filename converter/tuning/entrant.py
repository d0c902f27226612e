"""Who is in the race: what is known of each candidate, and the workers that run it."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .agreement import Agreement
from .candidate import Candidate


class Runs(Protocol):
    """The running workers of a candidate; see `crew.Crew`."""

    start_s: float | None
    runtime: str

    async def start(self, *, alone_first: bool) -> None:
        """Start them."""

    async def rate(self, images: Sequence[bytes], batch: int, seconds: float) -> float:
        """Return images a second."""

    async def alone_ms(self, images: Sequence[bytes], seconds: float) -> float:
        """Return the time of one image."""

    async def scores(self, images: Sequence[bytes], batch: int) -> list[np.ndarray | str]:
        """Return scores of each image, or why it has none."""

    def memory_mib(self) -> float:
        """Return what they take."""

    async def close(self) -> None:
        """End them."""


@dataclass(eq=False)
class Entrant:
    """A candidate in the race, and all that is known of it.

    Attributes:
        rates: images a second in its turns before the final.
        final: the same in the final, a number a round; empty if it was not in it.
        refused: why it is not chosen whatever its speed; "": it may be.
        error: why it was not measured to the end; "": it was.
        runtime: name, version and device of what ran it.
        run_size: images in each run of the final; 0: as many as the candidate's `batch_size`.
    """

    candidate: Candidate
    rates: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    alone_ms: float | None = None
    memory_mib: float | None = None
    start_s: float | None = None
    agreement: Agreement | None = None
    refused: str = ""
    error: str = ""
    runtime: str = ""
    run_size: int = 0

    @property
    def images_per_s(self) -> float | None:
        """The median of its turns."""
        rates = self.final or self.rates
        return statistics.median(rates) if rates else None

    @property
    def speed(self) -> float:
        """The same, 0 of one that may not be chosen."""
        return 0.0 if self.error or self.refused else self.images_per_s or 0.0


@dataclass
class Lane:
    """Running workers, and the candidates that differ in their batch size only."""

    base: Candidate
    runs: Runs
    entrants: list[Entrant] = field(default_factory=list)

    @property
    def speed(self) -> float:
        """That of its best candidate."""
        return max((entrant.speed for entrant in self.entrants), default=0.0)


@dataclass(frozen=True)
class Plan:
    """What to race.

    Attributes:
        reference: the export's own runtime, whose scores the others are compared with.
        lines: a candidate of each runtime, form and precision, one by one.
        untuned: what the service does by itself.
        layouts: (workers, threads).
        fast_decode: whether decoding at a part of the size may gain.
        seconds: when to be done.
    """

    reference: Candidate
    lines: Sequence[Candidate]
    untuned: Candidate
    layouts: Sequence[tuple[int, int]]
    fast_decode: bool
    seconds: float
