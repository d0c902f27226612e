"""How many images a run of the model takes: the number that gives most images a second.

Which number that is depends on the runtime, the model, the machine and its neighbours, so it is
measured: by each worker in its warm-up, and from then on by trials between the ordinary runs.

    trial    one worker runs a few batches of one size, then as many images in batches of another.
             Both see the same minute of the machine, so only their ratio is kept.
    memory   the last few trials of a size count, so that a noisy minute is soon forgotten.
    when     as often as a trial costs little: a size that was found slow is tried again rarely, one
             that may be faster soon. Nothing is tried that does not wait anyway.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# What workers report of themselves: images a second of the model, by the size of the batch.
RATES_FACT = "images_per_s"

_MEMORY = 6  # trials
_ENOUGH = 2  # trials of a size before it may become the best
_MARGIN = 0.02  # so much faster, as a logarithm, another size must be
_USUAL_SPREAD = 0.1  # of the logarithms that trials give, before some have been seen
_MOST_CREDIBLE = math.log(2)
# A trial may cost this part of a worker's time.
_COST = 0.0025
_SOONEST, _LATEST = 8, 240  # in durations of a trial
_RUNS_BEFORE = 32  # the first trial: a service with little to do needs none
_RUN_MEMORY = 8.0  # runs, for the rates that are shown


def sizes_up_to(largest: int) -> tuple[int, ...]:
    """Return the powers of two below `largest`, and `largest`."""
    sizes = [1]
    while sizes[-1] < largest:
        sizes.append(min(2 * sizes[-1], largest))
    return tuple(sizes)


@dataclass(slots=True)
class _Size:
    """What is known of one size.

    Attributes:
        cost: the logarithm of the seconds an image, less that of the best size.
        variance: of the logarithms that its trials gave.
        trials: how many of them `cost` is made of.
        due: when it may be tried again, a time of the loop's clock.
        each_s: the seconds an image of its last runs, None before the first.
    """

    cost: float = 0.0
    variance: float = _USUAL_SPREAD**2
    trials: int = 0
    due: float = -math.inf
    each_s: float | None = None

    def learn(self, cost: float) -> None:
        """Take in the outcome of a trial."""
        share = 1 / (1 + min(self.trials, _MEMORY - 1))
        error = cost - self.cost
        if self.trials:
            self.variance += (error**2 - self.variance) / _MEMORY
        self.cost += share * error
        self.trials += 1

    @property
    def doubt(self) -> float:
        """How far `cost` may be off."""
        return math.sqrt(self.variance / max(1, min(self.trials, _MEMORY)))


@dataclass(slots=True)
class _Trial:
    """Runs of one worker in two sizes, one after the other; the first run of each does not count.

    A runtime plans its memory anew, and the caches are cold, when the size changes.

    Attributes:
        worker: the one that runs it.
        order: the two sizes.
        began: a time of the loop's clock.
        images: so many of each size count.
        seconds: what the images of each size took.
        counted: how many have been counted of each.
        phase: which of the two runs.
        is_first: whether the next run is the first in its size.
    """

    worker: object
    order: tuple[int, int]
    began: float
    images: int
    seconds: list[float] = field(default_factory=lambda: [0.0, 0.0])
    counted: list[int] = field(default_factory=lambda: [0, 0])
    phase: int = 0
    is_first: bool = True

    @property
    def size(self) -> int:
        """The size of the next run."""
        return self.order[self.phase]

    def ran(self, each_s: float) -> bool:
        """Count a run; return whether the trial is complete."""
        if self.is_first:
            self.is_first = False
            return False
        self.seconds[self.phase] += self.size * each_s
        self.counted[self.phase] += self.size
        if self.counted[self.phase] < self.images:
            return False
        self.phase += 1
        self.is_first = True
        return self.phase == len(self.order)

    def ratio(self, size: int) -> float:
        """Return the logarithm of the seconds an image of `size` over those of the other one."""
        first, second = (s / n for s, n in zip(self.seconds, self.counted, strict=True))
        ratio = math.log(first / second)
        ratio = min(max(ratio, -_MOST_CREDIBLE), _MOST_CREDIBLE)
        return ratio if size == self.order[0] else -ratio


class BatchSizes:
    """Chooses the size of each batch, and learns from how long it took.

    Attributes:
        best: the size that gives most images a second, as far as is known.
    """

    def __init__(self, largest: int) -> None:
        """Take batches of up to `largest` images until something is known."""
        self.best = largest
        self._sizes = {size: _Size() for size in sizes_up_to(largest)}
        self._measured: dict[int, float] = {}  # seconds an image, of the warm-up
        self._trial: _Trial | None = None
        self._compared = (0, 0)  # the size that the trial is about, and the usual one
        self._trials = 0
        self._runs = 0

    @property
    def images_per_s(self) -> dict[int, float]:
        """Images a second of one worker by size: of its last runs, else of the warm-up."""
        known = {size: self._sizes[size].each_s or self._measured.get(size) for size in self._sizes}
        return {size: round(1 / each_s, 1) for size, each_s in known.items() if each_s}

    def measured(self, facts: Mapping[str, Any]) -> None:
        """Take over what a worker measured in its warm-up; the quickest run of a size counts.

        It decides until there are trials, which are whole runs of real images.
        """
        rates = facts.get(RATES_FACT)
        if not isinstance(rates, Mapping):
            return
        for name, rate in rates.items():
            size = int(name)
            if size in self._sizes and rate > 0:
                self._measured[size] = min(1 / rate, self._measured.get(size, math.inf))
        if len(self._measured) < len(self._sizes) or any(s.trials for s in self._sizes.values()):
            return
        for size, known in self._sizes.items():
            known.cost = math.log(self._measured[size])
        least = min(known.cost for known in self._sizes.values())
        # Of sizes that are as good, the smallest: its images wait for no others.
        self._take_over(next(s for s, known in self._sizes.items() if known.cost < least + _MARGIN))

    def size_for(self, worker: object, waiting: int, now: float) -> int:
        """Return how many of `waiting` images the idle `worker` takes at most; at least one."""
        waiting = max(1, waiting)
        if self._trial is None:
            self._begin_trial(worker, waiting, now)
        if self._trial is not None and self._trial.worker is worker:
            if self._trial.size <= waiting:
                return self._trial.size
            self._give_up(now)
        return self._usual(waiting)

    def ran(self, worker: object, images: int, each_s: float, now: float) -> None:
        """Learn from a run of so many images that took `each_s` seconds an image."""
        self._runs += 1
        known = self._sizes[self._nearest(images)]
        before = each_s if known.each_s is None else known.each_s
        known.each_s = before + (each_s - before) / _RUN_MEMORY
        trial = self._trial
        if trial is None or trial.worker is not worker:
            return
        if images != trial.size:
            self._give_up(now)
        elif trial.ran(each_s):
            self._trial = None
            self._conclude(trial, now)

    def worker_lost(self, worker: object) -> None:
        """Forget the trial of a worker that is up no more."""
        if self._trial is not None and self._trial.worker is worker:
            self._trial = None

    def _usual(self, waiting: int) -> int:
        """Return the best size, or if fewer wait all of them, unless still fewer are faster."""
        if waiting >= self.best:
            return self.best
        chosen = self._nearest(waiting, at_most=True)
        better = [
            size
            for size in self._sizes
            if size < chosen and self._sizes[size].cost < self._sizes[chosen].cost - _MARGIN
        ]
        if better:
            return min(better, key=lambda size: self._sizes[size].cost)
        return waiting

    def _nearest(self, images: int, *, at_most: bool = False) -> int:
        sizes = [size for size in self._sizes if size <= images] if at_most else list(self._sizes)
        return min(sizes, key=lambda size: abs(math.log(size / images)))

    def _begin_trial(self, worker: object, waiting: int, now: float) -> None:
        """Begin the trial that is due longest, of a size against the one that is usual now."""
        usual = self._usual(waiting)
        if usual not in self._sizes or self._runs < _RUNS_BEFORE:
            return
        due = [
            size
            for size, known in self._sizes.items()
            if size != usual and size <= waiting and known.due <= now
        ]
        if not due:
            return
        size = min(due, key=lambda size: (self._sizes[size].due, self._sizes[size].cost))
        self._compared = (size, usual)
        # The order changes, so that a machine that gets slower or faster favours neither.
        self._trials += 1
        order = (size, usual) if self._trials % 2 else (usual, size)
        self._trial = _Trial(worker, order, now, images=2 * max(order))

    def _give_up(self, now: float) -> None:
        """End a trial for which too few images wait."""
        trial, self._trial = self._trial, None
        if trial is not None:
            size, _ = self._compared
            self._sizes[size].due = now + _SOONEST * (now - trial.began)

    def _conclude(self, trial: _Trial, now: float) -> None:
        """Learn the ratio that a trial found, and plan the next one of that size."""
        size, usual = self._compared
        ratio = trial.ratio(size)
        known = self._sizes[size]
        known.learn(self._sizes[usual].cost + ratio)
        # What one trial of it costs, if it is as slow as it seems, or as this trial found.
        loss = math.expm1(max(0.0, min(known.cost - known.doubt, ratio)))
        durations = min(max(loss / _COST, _SOONEST), _LATEST)
        known.due = now + durations * (now - trial.began)
        best_cost = self._sizes[self.best].cost
        if known.trials >= _ENOUGH and known.cost + known.doubt < best_cost - _MARGIN:
            self._take_over(size)

    def _take_over(self, best: int) -> None:
        self.best = best
        least = self._sizes[best].cost
        for known in self._sizes.values():
            known.cost -= least
