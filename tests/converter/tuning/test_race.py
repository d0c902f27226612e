"""The schedule and the choice, over candidates whose rates are given."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from converter.tuning.agreement import Agreement
from converter.tuning.candidate import Candidate
from converter.tuning.choice import choose
from converter.tuning.crew import CandidateError
from converter.tuning.entrant import Entrant, Plan
from converter.tuning.race import Race
from converter.tuning.samples import Samples
from converter.tuning.space import layouts

LINE = Candidate("paddle", "export", "fp32", 1, 2, 1, fast_decode=False)
OTHER = replace(LINE, backend="onnxruntime", form="onnx")
SLOW = replace(LINE, backend="openvino", form="onnx")
UNTUNED = replace(OTHER, batch_size=8)
SAMPLES = Samples("images", {str(n): b"" for n in range(20)}, {}, (), ())


class Given:
    """Workers whose rates are given, images a second by backend; each call takes its seconds."""

    def __init__(self, candidate: Candidate, arena: Arena) -> None:
        self._candidate = candidate
        self._arena = arena
        self.start_s: float | None = 1.0
        self.runtime = candidate.backend

    async def start(self, *, alone_first: bool) -> None:
        self._arena.now += self._arena.start_s
        self._arena.running += 1

    async def rate(self, images: Sequence[bytes], batch: int, seconds: float) -> float:
        self._arena.slices += 1
        rate = self._arena.rates[self._candidate.backend] * self._candidate.workers / 2
        rate *= 4 if self._candidate.fast_decode else 1
        self._arena.now += max(seconds, batch / rate)
        return rate

    async def alone_ms(self, images: Sequence[bytes], seconds: float) -> float:
        self._arena.now += seconds
        return 1000 / self._arena.rates[self._candidate.backend]

    async def scores(self, images: Sequence[bytes], batch: int) -> list[np.ndarray | str]:
        self._arena.now += len(images) / self._arena.rates[self._candidate.backend]
        return [np.zeros(3, np.float32) for _ in images]

    def memory_mib(self) -> float:
        return 100.0

    async def close(self) -> None:
        self._arena.closed.add(id(self))


class Arena:
    def __init__(self, start_s: float, **rates: float) -> None:
        self.rates = rates
        self.start_s = start_s
        self.now = 0.0
        self.slices = 0
        self.running = 0
        self.closed: set[int] = set()
        self.opened: list[Given] = []

    def open(self, candidate: Candidate) -> Given:
        self.opened.append(Given(candidate, self))
        return self.opened[-1]

    def race(self, seconds: float, *, large_jpegs: bool = False) -> Race:
        plan = Plan(LINE, [LINE, OTHER, SLOW], UNTUNED, layouts(2), large_jpegs, seconds)
        agreed = Agreement(0.0, 20, None, 20), ""
        race = Race(
            plan,
            SAMPLES,
            self.open,
            lambda *_: agreed,
            lambda *_: None,
            lambda: self.now,
        )
        asyncio.run(race.run())
        return race


@pytest.mark.parametrize("seconds", [10.0, 60.0, 600.0])
def test_it_ends_with_its_time(seconds: float) -> None:
    """Measured in slices that each take their time: none is left out, and none comes after."""
    arena = Arena(0.5, paddle=60.0, onnxruntime=120.0, openvino=90.0)
    race = arena.race(seconds)
    # the last starts may take less than was kept for them, and the last round begins before it
    assert 0.75 * seconds <= arena.now <= seconds + 10
    assert len(race.entrants[UNTUNED].final) >= 3
    assert arena.closed == {id(given) for given in arena.opened}


def test_a_slow_model_gets_a_result_that_takes_longer() -> None:
    arena = Arena(8.0, paddle=0.5, onnxruntime=1.7, openvino=1.5)
    race = arena.race(20.0)
    assert arena.now > 20
    assert choose(race.entrants, UNTUNED).candidate.backend == "onnxruntime"
    assert arena.slices < 60


def test_untuned_runs_the_batches_that_its_engine_would_learn() -> None:
    class BestInPairs(Given):
        async def rate(self, images: Sequence[bytes], batch: int, seconds: float) -> float:
            return await super().rate(images, batch, seconds) * (2 if batch == 2 else 1)

    class Pairs(Arena):
        def open(self, candidate: Candidate) -> Given:
            self.opened.append(BestInPairs(candidate, self))
            return self.opened[-1]

    race = Pairs(0.5, paddle=60.0, onnxruntime=120.0, openvino=100.0).race(60.0)
    untuned = race.entrants[UNTUNED]
    assert untuned.run_size == 2
    assert untuned.images_per_s == 240
    assert choose(race.entrants, UNTUNED) is untuned


def test_untuned_of_a_slow_model_is_measured_though_its_batch_takes_too_long() -> None:
    race = Arena(1.0, paddle=0.5, onnxruntime=0.7, openvino=0.4).race(20.0)
    assert replace(OTHER, batch_size=4) not in race.entrants
    assert race.entrants[UNTUNED].run_size == 1
    assert len(race.entrants[UNTUNED].final) >= 3


def test_the_hopeless_drop_out_early() -> None:
    arena = Arena(0.5, paddle=10.0, onnxruntime=120.0, openvino=110.0)
    race = arena.race(60.0)
    paddle = [entrant for one, entrant in race.entrants.items() if one.backend == "paddle"]
    assert all(len(entrant.rates) <= 1 and not entrant.final for entrant in paddle)


def test_large_jpegs_are_decoded_at_a_part_of_their_size_where_it_pays() -> None:
    race = Arena(0.5, paddle=60.0, onnxruntime=120.0, openvino=130.0).race(60.0, large_jpegs=True)
    chosen = choose(race.entrants, UNTUNED).candidate
    assert (chosen.backend, chosen.fast_decode) == ("openvino", True)
    assert SLOW not in race.entrants, "what follows is measured with it alone"


def test_one_that_cannot_start_is_no_end_of_the_others() -> None:
    class Failing(Arena):
        def open(self, candidate: Candidate) -> Given:
            given = super().open(candidate)
            if candidate.backend == "openvino":

                async def start(*, alone_first: bool) -> None:
                    raise CandidateError("no such library")

                given.start = start  # type: ignore[method-assign]
            return given

    race = Failing(0.5, paddle=60.0, onnxruntime=120.0, openvino=1.0).race(30.0)
    assert race.entrants[SLOW].error == "no such library"
    assert choose(race.entrants, UNTUNED).candidate.backend == "onnxruntime"


def _entrant(candidate: Candidate, *final: float, refused: str = "") -> Entrant:
    return Entrant(candidate, [1.0], list(final), refused=refused)


@pytest.mark.parametrize(
    ("rates", "wins"),
    [
        ((102, 102, 102), False),  # a tie, in noise
        ((110, 110, 110), True),
        ((110, 110, 90), False),
        ((150, 90, 90), False),  # one lucky round
        ((110,) * 6 + (90,), True),  # one unlucky round of many
        ((90, 90, 90), False),
    ],
)
def test_untuned_wins_unless_another_is_faster_in_the_same_rounds(
    rates: tuple[float, ...], wins: bool
) -> None:
    untuned, other = _entrant(UNTUNED, *[100] * len(rates)), _entrant(LINE, *rates)
    race = {one.candidate: one for one in (untuned, other)}
    assert choose(race, UNTUNED) is (other if wins else untuned)


def test_one_whose_scores_change_must_gain_more() -> None:
    half = replace(LINE, precision="bf16")
    race = {
        UNTUNED: _entrant(UNTUNED, 100, 100, 100),
        half: _entrant(half, 108, 108, 108),
    }
    assert choose(race, UNTUNED).candidate == UNTUNED
    race[half] = _entrant(half, 112, 112, 112)
    assert choose(race, UNTUNED).candidate == half
    race[LINE] = _entrant(LINE, 104, 104, 104)
    assert choose(race, UNTUNED).candidate == LINE, "nearly as fast, and scores stay"


def test_the_largest_batch_that_pays_is_chosen() -> None:
    batches = {1: 150, 2: 199, 4: 200, 8: 199, 16: 170}
    race = {UNTUNED: _entrant(UNTUNED, 100, 100, 100)}
    for size, rate in batches.items():
        candidate = replace(LINE, batch_size=size)
        race[candidate] = _entrant(candidate, rate, rate, rate)
    assert choose(race, UNTUNED).candidate == replace(LINE, batch_size=8)


def test_a_refused_one_is_not_chosen() -> None:
    race = {
        UNTUNED: _entrant(UNTUNED, 100, 100, 100),
        LINE: _entrant(LINE, 900, 900, 900, refused="scores differ"),
    }
    assert choose(race, UNTUNED).candidate == UNTUNED


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        (1, [(1, 1)]),
        (2, [(2, 1), (1, 2)]),
        (6, [(6, 1), (3, 2), (1, 4), (1, 6)]),
        (16, [(16, 1), (8, 2), (4, 4), (2, 8), (1, 16)]),
    ],
)
def test_layouts_keep_the_cores_busy(cores: int, expected: list[tuple[int, int]]) -> None:
    assert layouts(cores) == expected
