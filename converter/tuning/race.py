"""The schedule: who is measured when, who drops out, and when it ends.

    first look   every line (runtime, form, precision) in each batch size, a worker a core; of large
                 JPEGs, whether decoding them at a part of their size pays
    rounds       those that are near the best take turns, three times
    layouts      the best two lines with fewer workers of more threads
    final        the best few and the untuned default in turns, until the time is over
    served       the choice and the untuned default started as they will be served: seconds to
                 start, memory, one image alone

Candidates that are compared take turns in slices of a second or less, so that a slow minute of the
machine hits all alike. The clock decides what is left out, never what is chosen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..errors import ConversionError
from .agreement import Agreement
from .candidate import Candidate
from .choice import GAIN_CHANGED, choose
from .crew import CandidateError
from .entrant import Entrant, Lane, Plan, Runs
from .finalists import learned, the_finalists
from .samples import Samples
from .space import BATCHES

# What is below this part of the best drops out: after the first look, and after each round.
_KEPT = (0.6, 0.75, 0.85, 0.92)
_LANES = 4  # that stay in memory after the first look
_LEAST_ROUNDS = 3
_FINAL_SHARE = 0.4  # of the time, for the final and what follows it
_SERVED_SHARE = 0.25  # at most, for the last starts
_COMPARED_SHARE = 0.04  # of the time, for the scores of one line
_LEAST_COMPARED = 8
_COMPARING_BATCH = 4


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
            await self._final()
        finally:
            await self._close(self._lanes)
        await self._serve()

    def left_s(self) -> float:
        """Return the seconds that are left; negative where the least took longer."""
        return self._plan.seconds - (self._clock() - self._began)

    def _has_time(self, share: float) -> bool:
        """Whether more than a share of all seconds is left."""
        return self.left_s() > share * self._plan.seconds

    def _tell(self, candidate: Candidate, stage: str) -> None:
        self._say(f"{stage}: {candidate}", self.left_s())

    def _entrant(self, candidate: Candidate) -> Entrant:
        return self.entrants.setdefault(candidate, Entrant(candidate))

    async def _first_look(self) -> None:
        reference = self._plan.reference
        others = [line for line in self._plan.lines if line != reference]
        # What the service does untuned comes early: it is in the final whatever the time.
        others.sort(key=lambda line: line != replace(self._plan.untuned, batch_size=1))
        fast = False
        for line in [reference, *others]:
            lane = await self._enter(replace(line, fast_decode=fast), BATCHES, "first look")
            if lane is not None and line == replace(self._plan.untuned, batch_size=1):
                # Large photos: what decodes them faster, all others are measured with.
                fast = self._plan.fast_decode and await self._gains_by_fast_decode(lane)
            self._lanes.sort(key=lambda lane: -lane.speed)
            best = self._lanes[0].speed if self._lanes else 0.0
            hopeless = [lane for lane in self._lanes if lane.speed < _KEPT[0] * best]
            await self._drop([*hopeless, *self._lanes[_LANES:]])

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
                if size > 1:  # runtimes prepare themselves for each new shape
                    await lane.runs.rate(self._encoded, size, 0.0)
                entrant.rates.append(await lane.runs.rate(self._encoded, size, self._slice_s))
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
            if not self._has_time(_FINAL_SHARE):
                return
            for lane, entrant in self._near_best(kept):
                self._tell(entrant.candidate, "in turns")
                await self._safely(lane, entrant, entrant.rates, self._slice_s)
            await self._drop([lane for lane in self._lanes if not lane.entrants])

    def _near_best(self, kept: float) -> Iterator[tuple[Lane, Entrant]]:
        best = max((lane.speed for lane in self._lanes), default=0.0)
        for lane in list(self._lanes):
            near = [e for e in lane.entrants if e.speed >= kept * best > 0]
            untuned = learned(lane, self._plan.untuned)
            lane.entrants = near if untuned is None or untuned in near else [untuned, *near]
            yield from ((lane, entrant) for entrant in list(lane.entrants))

    async def _safely(
        self, lane: Lane, entrant: Entrant, rates: list[float], seconds: float
    ) -> None:
        if lane not in self._lanes:
            return  # it has failed in this round
        try:
            size = entrant.run_size or entrant.candidate.batch_size
            rate = await lane.runs.rate(self._encoded, size, seconds)
        except CandidateError as error:
            entrant.error = str(error)
            await self._close([lane])
        else:
            rates.append(rate)

    async def _drop(self, lanes: Sequence[Lane]) -> None:
        """End the workers of these, but for the untuned default: it is in the final."""
        untuned = replace(self._plan.untuned, batch_size=1)
        await self._close([lane for lane in lanes if lane.base != untuned])

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
                if base not in self.entrants and self._has_time(_FINAL_SHARE):
                    await self._enter(base, BATCHES, "fewer workers", alone_first=False)
        if best:
            await self._take_rounds()

    async def _gains_by_fast_decode(self, lane: Lane) -> bool:
        base = replace(lane.base, fast_decode=True)
        fast = await self._enter(base, BATCHES, "decoding at a part of the size")
        return fast is not None and fast.speed > GAIN_CHANGED * lane.speed

    async def _final(self) -> None:
        """Let the finalists take turns until the time is over, but for what `_serve` needs."""
        finalists, rounds = the_finalists(self._lanes, self.entrants, self._plan.untuned), 0
        while finalists and (rounds < _LEAST_ROUNDS or self.left_s() > self._serving_s()):
            # Rotated, so that none always follows the same one.
            at = rounds % len(finalists)
            for lane, entrant in [*finalists[at:], *finalists[:at]]:
                self._tell(entrant.candidate, f"final, round {rounds + 1}")
                await self._safely(lane, entrant, entrant.final, 2 * self._slice_s)
            finalists = [pair for pair in finalists if pair[0] in self._lanes]
            rounds += 1

    def _serving_s(self) -> float:
        """Return how long the last two starts may take, of a first worker and of the others."""
        starts = [lane.runs.start_s or 0.0 for lane in self._lanes]
        return min(4 * max(starts, default=0.0), _SERVED_SHARE * self._plan.seconds)

    async def _serve(self) -> None:
        """Start the choice and the untuned default as they will be served, each by itself."""
        served: list[Entrant] = []
        while True:
            try:
                chosen = choose(self.entrants, self._plan.untuned)
            except ConversionError:
                return  # reported by the caller, who chooses again
            untuned = self._entrant(self._plan.untuned)
            new = [e for e in (chosen, untuned) if e not in served and e.final and not e.error]
            if not new:
                return
            await self._serve_one(new[0])
            served.append(new[0])

    async def _serve_one(self, entrant: Entrant) -> None:
        candidate = entrant.candidate
        self._tell(candidate, "started as it will be served")
        runs = self._open_runs(candidate)
        try:
            await runs.start(alone_first=True)
            await runs.rate(self._encoded, entrant.run_size or candidate.batch_size, 0.0)
            alone_ms = await runs.alone_ms(self._encoded, self._slice_s)
            entrant.alone_ms, entrant.start_s = alone_ms, runs.start_s
            entrant.memory_mib = runs.memory_mib()
        except CandidateError as error:
            entrant.error = str(error)
        finally:
            await runs.close()
