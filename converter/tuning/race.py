"""The schedule: who is measured when, who drops out, and when it ends.

    first look   every line (runtime, form, precision) in each batch size, a worker a core
    rounds       those that are near the best take turns, three times
    layouts      the best two lines with fewer workers of more threads
    decoding     the best with large JPEGs decoded at a part of their size
    final        the best few and the untuned default, started anew as they will be served, in
                 turns until the time is over

Candidates that are compared take turns in slices of a second or less, so that a slow minute of the
machine hits all alike. The clock decides what is left out, never what is chosen.
"""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..errors import ConversionError
from .agreement import Agreement
from .candidate import Candidate
from .crew import CandidateError
from .samples import Samples
from .space import BATCHES

# What is below this part of the best drops out: after the first look, and after each round.
_KEPT = (0.6, 0.75, 0.85, 0.92)
_LANES = 4  # that stay in memory after the first look
_FINALISTS = 4
_LEAST_ROUNDS = 3
_LEAST_FINAL_SHARE = 0.45  # of the time, whatever the stages before take
_COMPARED_SHARE = 0.04  # of the time, for the scores of one line
_LEAST_COMPARED = 8
_COMPARING_BATCH = 4


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


# Scores of the export and of a candidate, by image -> the agreement, and why it is refused or "".
Judge = Callable[
    [Candidate, Mapping[str, np.ndarray], Mapping[str, np.ndarray]], tuple[Agreement, str]
]
Say = Callable[[str, float], None]  # what is measured now, seconds left


class Race:
    """Measures candidates until the time is over; `entrants` has what is known at any moment."""

    def __init__(
        self,
        plan: Plan,
        samples: Samples,
        open_runs: Callable[[Candidate], Runs],
        judge: Judge,
        say: Say,
        clock: Callable[[], float],
    ) -> None:
        """Prepare; nothing is started before `run`."""
        self.entrants: dict[Candidate, Entrant] = {}
        self.samples = samples
        self._plan = plan
        self._open_runs = open_runs
        self._judge = judge
        self._say = say
        self._clock = clock
        self._began = clock()
        self._slice_s = min(1.0, max(0.1, plan.seconds / 150))
        self._export: dict[str, np.ndarray] = {}
        self._lanes: list[Lane] = []

    async def run(self) -> None:
        """Run all stages.

        Raises:
            ConversionError: no image can be read.
        """
        try:
            await self._first_look()
            await self._take_rounds()
            await self._try_layouts()
            await self._try_fast_decode()
            finalists = self._finalists()
        finally:
            await self._close(self._lanes)
        await self._final(finalists)

    def left_s(self) -> float:
        """Return the seconds that are left; negative where the least took longer."""
        return self._plan.seconds - (self._clock() - self._began)

    def _has_time(self) -> bool:
        return self.left_s() > _LEAST_FINAL_SHARE * self._plan.seconds

    def _tell(self, candidate: Candidate, stage: str) -> None:
        self._say(f"{stage}: {candidate}", self.left_s())

    def _entrant(self, candidate: Candidate) -> Entrant:
        return self.entrants.setdefault(candidate, Entrant(candidate))

    async def _first_look(self) -> None:
        reference = self._plan.reference
        others = [line for line in self._plan.lines if line != reference]
        # What the service does untuned comes early: it is in the final whatever the time.
        others.sort(key=lambda line: line != replace(self._plan.untuned, batch_size=1))
        for line in [reference, *others]:
            await self._enter(line, BATCHES, "first look")
            self._lanes.sort(key=lambda lane: -lane.speed)
            best = self._lanes[0].speed if self._lanes else 0.0
            hopeless = [lane for lane in self._lanes if lane.speed < _KEPT[0] * best]
            await self._close([*hopeless, *self._lanes[_LANES:]])

    async def _enter(
        self, base: Candidate, batches: Sequence[int], stage: str, *, alone_first: bool = True
    ) -> Lane | None:
        """Start the workers of a line, compare its scores, and measure it in `batches`."""
        self._tell(base, stage)
        entrant = self._entrant(base)
        lane = Lane(base, self._open_runs(base), [])
        try:
            await lane.runs.start(alone_first=alone_first)
            agreement, refused = await self._compare(lane)
            alone_ms = await lane.runs.alone_ms(self._encoded, self._slice_s)
            slowest_s = max(4 * self._slice_s, self._plan.seconds / 30)
            for size in batches:
                if size > 1 and size * alone_ms / 1000 > slowest_s:
                    break
                entrant = self._entrant(replace(base, batch_size=size))
                entrant.agreement, entrant.refused = agreement, refused
                entrant.alone_ms, entrant.start_s = alone_ms, lane.runs.start_s
                entrant.runtime = lane.runs.runtime
                await self._turn(lane, entrant, warm=size > 1)
                entrant.memory_mib = lane.runs.memory_mib()
                lane.entrants.append(entrant)
        except CandidateError as error:
            entrant.error = str(error)
            await lane.runs.close()
            return None
        except BaseException:
            await lane.runs.close()
            raise
        self._lanes.append(lane)
        return lane

    async def _turn(self, lane: Lane, entrant: Entrant, *, warm: bool = False) -> None:
        size = entrant.candidate.batch_size
        if warm:  # runtimes prepare themselves for each new shape
            await lane.runs.rate(self._encoded, size, 0.0)
        entrant.rates.append(await lane.runs.rate(self._encoded, size, self._slice_s))

    @property
    def _encoded(self) -> list[bytes]:
        return list(self.samples.images.values())

    async def _compare(self, lane: Lane) -> tuple[Agreement | None, str]:
        if lane.base == self._plan.reference:
            await self._score_export(lane)
        if not self._export:
            return None, ""
        images = [self.samples.images[name] for name in self._export]
        rows = await lane.runs.scores(images, _COMPARING_BATCH)
        wrong = next((row for row in rows if isinstance(row, str)), None)
        if wrong is not None:
            raise CandidateError(f"it refuses an image that the export's runtime takes: {wrong}")
        scores = {
            name: row
            for name, row in zip(self._export, rows, strict=True)
            if not isinstance(row, str)
        }
        return self._judge(lane.base, self._export, scores)

    async def _score_export(self, lane: Lane) -> None:
        """Run as many images as the time allows through the export's own runtime."""
        limit_s = _COMPARED_SHARE * self._plan.seconds
        names, unreadable = list(self.samples.images), []
        began = self._clock()
        step = _LEAST_COMPARED
        for at in range(0, len(names), step):
            part = names[at : at + step]
            rows = await lane.runs.scores([self.samples.images[name] for name in part], 1)
            for name, row in zip(part, rows, strict=True):
                if isinstance(row, str):
                    unreadable.append(name)
                else:
                    self._export[name] = row
            if self._export and self._clock() - began > limit_s:
                break
        self.samples = self.samples.only(list(self._export), unreadable)

    async def _take_rounds(self) -> None:
        for kept in _KEPT[1:]:
            if not self._has_time():
                return
            for lane, entrant in self._near_best(kept):
                self._tell(entrant.candidate, "in turns")
                await self._safe_turn(lane, entrant)
            await self._close([lane for lane in self._lanes if not lane.entrants])

    def _near_best(self, kept: float) -> Iterator[tuple[Lane, Entrant]]:
        best = max((lane.speed for lane in self._lanes), default=0.0)
        for lane in list(self._lanes):
            lane.entrants = [e for e in lane.entrants if e.speed and e.speed >= kept * best]
            yield from ((lane, entrant) for entrant in list(lane.entrants))

    async def _safe_turn(self, lane: Lane, entrant: Entrant) -> None:
        if lane not in self._lanes:
            return
        try:
            await self._turn(lane, entrant)
        except CandidateError as error:
            entrant.error = str(error)
            await self._close([lane])

    async def _close(self, lanes: Sequence[Lane]) -> None:
        for lane in list(lanes):
            if lane in self._lanes:
                self._lanes.remove(lane)
            await lane.runs.close()

    async def _try_layouts(self) -> None:
        best = sorted(self._lanes, key=lambda lane: -lane.speed)[:2]
        for lane in best:
            for workers, threads in self._plan.layouts:
                base = replace(lane.base, workers=workers, threads=threads)
                if base not in self.entrants and self._has_time():
                    await self._enter(base, BATCHES, "fewer workers", alone_first=False)
        if best:
            await self._take_rounds()

    async def _try_fast_decode(self) -> None:
        if not self._plan.fast_decode or not self._lanes:
            return
        best = max(self._lanes, key=lambda lane: lane.speed)
        base = replace(best.base, fast_decode=True)
        await self._enter(base, BATCHES, "decoding at a part of the size", alone_first=False)

    def _finalists(self) -> list[Entrant]:
        """The fastest, and the untuned default."""
        ranked = sorted(self.entrants.values(), key=lambda entrant: -entrant.speed)
        chosen = [entrant for entrant in ranked if entrant.speed][:_FINALISTS]
        untuned = self._entrant(self._plan.untuned)
        others = [entrant for entrant in chosen if entrant is not untuned]
        # What late finalists would need is time that is over.
        most = _FINALISTS - 1 if self.left_s() > 0 else 1
        return [untuned, *others[:most]]

    async def _final(self, finalists: Sequence[Entrant]) -> None:
        async with self._served(finalists) as served:
            lanes, rounds = served, 0
            while rounds < _LEAST_ROUNDS or self.left_s() > 0:
                # Rotated, so that none always follows the same one.
                at = rounds % max(len(lanes), 1)
                for lane in [*lanes[at:], *lanes[:at]]:
                    (entrant,) = lane.entrants
                    self._tell(entrant.candidate, f"final, round {rounds + 1}")
                    await self._final_turn(lane, entrant)
                lanes = [lane for lane in lanes if not lane.entrants[0].error]
                rounds += 1
                if not lanes:
                    return

    async def _final_turn(self, lane: Lane, entrant: Entrant) -> None:
        size = entrant.candidate.batch_size
        try:
            entrant.final.append(await lane.runs.rate(self._encoded, size, 2 * self._slice_s))
            entrant.memory_mib = lane.runs.memory_mib()
        except CandidateError as error:
            entrant.error = str(error)

    @contextlib.asynccontextmanager
    async def _served(self, finalists: Sequence[Entrant]) -> AsyncIterator[list[Lane]]:
        """Start each finalist as it will be served, and measure it alone."""
        lanes: list[Lane] = []
        try:
            for entrant in finalists:
                self._tell(entrant.candidate, "started as it will be served")
                lane = Lane(entrant.candidate, self._open_runs(entrant.candidate), [entrant])
                lanes.append(lane)
                with self._reported(entrant):
                    await lane.runs.start(alone_first=True)
                    entrant.start_s = lane.runs.start_s
                    entrant.alone_ms = await lane.runs.alone_ms(self._encoded, self._slice_s)
                    await lane.runs.rate(self._encoded, entrant.candidate.batch_size, 0.0)
            yield [lane for lane in lanes if not lane.entrants[0].error]
        finally:
            for lane in lanes:
                await lane.runs.close()

    @contextlib.contextmanager
    def _reported(self, entrant: Entrant) -> Iterator[None]:
        try:
            yield
        except CandidateError as error:
            entrant.error = str(error)


def choose(race: Mapping[Candidate, Entrant], untuned: Candidate) -> Entrant:
    """Return the candidate to serve with: the untuned default, unless another one is faster.

    Faster means: by more than 3% in the middle of the rounds, and in two of three rounds. Of those
    that are as fast as the fastest, the one with the largest batch, for the engine runs smaller
    ones where they gain.

    Raises:
        ConversionError: no candidate could be measured.
    """
    default = race.get(untuned)
    finalists = [e for e in race.values() if e.final and not e.error and not e.refused]
    if not finalists:
        raise ConversionError(
            "no candidate could be measured to the end; the rows above say why, and"
            " `python -m converter inspect` shows the runtimes that read this bundle"
        )
    if default is not None and default in finalists:
        faster = [e for e in finalists if e is not default and _beats(e.final, default.final)]
        if not faster:
            return default
        finalists = faster
    best = max(finalists, key=lambda entrant: entrant.speed)
    level = [e for e in finalists if e.speed >= _LEVEL * best.speed]
    same = [e for e in level if replace(e.candidate, batch_size=0) == _without_batch(best)]
    return max(same, key=lambda entrant: entrant.candidate.batch_size)


_LEVEL = 0.98
_GAIN = 1.03


def _without_batch(entrant: Entrant) -> Candidate:
    return replace(entrant.candidate, batch_size=0)


def gain(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return how many times as fast `rates` are, the median of the rounds that both were in."""
    return statistics.median(a / b for a, b in zip(rates, others, strict=False))


def _beats(rates: Sequence[float], others: Sequence[float]) -> bool:
    wins = [a > b for a, b in zip(rates, others, strict=False)]
    return gain(rates, others) > _GAIN and 3 * sum(wins) >= 2 * len(wins)
