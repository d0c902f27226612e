"""The best size of a batch, learned on a simulated clock from what each size costs."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping

import pytest

from pipeline.engine.batch_sizes import RATES_FACT, BatchSizes, sizes_up_to
from pipeline.engine.warming import _rounds

Cost = Callable[[int], float]  # images in a run -> seconds an image


def costs(table: Mapping[int, float]) -> Cost:
    """Of sizes between those of the table, the cost of the largest that is smaller."""
    return lambda images: table[max(size for size in table if size <= images)]


ONE_BY_ONE = costs({1: 0.0068, 2: 0.0075, 4: 0.0085, 8: 0.0104})
IN_FOURS = costs({1: 0.020, 2: 0.014, 4: 0.009, 8: 0.012})
IN_EIGHTS = costs({1: 0.020, 2: 0.014, 4: 0.011, 8: 0.009})


class Machine:
    """Two workers that always have something to do, on a clock that only their runs move.

    A run takes `noise` more or less, and neighbours make a minute up to twice as slow.
    """

    def __init__(self, sizes: BatchSizes, seed: int = 1, noise: float = 0.15) -> None:
        self.sizes = sizes
        self.now = 0.0
        self.runs: Counter[int] = Counter()
        self._random = random.Random(seed)
        self._noise = noise
        self._slow = 1.0
        self._busy: dict[str, float] = {"a": 0.0, "b": 0.0}

    def serve(self, runs: int, cost: Cost, waiting: int = 30) -> Counter[int]:
        """Run so many batches; return how many images ran in each size of them."""
        seen: Counter[int] = Counter()
        for _ in range(runs):
            worker = min(self._busy, key=lambda name: self._busy[name])
            self.now = self._busy[worker]
            if self._random.random() < 0.002:
                self._slow = self._random.uniform(1, 2)
            images = min(waiting, self.sizes.size_for(worker, waiting, self.now))
            assert 1 <= images <= waiting
            each_s = cost(images) * self._slow * self._random.uniform(1, 1 + 2 * self._noise)
            self._busy[worker] = self.now + images * each_s
            self.sizes.ran(worker, images, each_s, self._busy[worker])
            seen[images] += images
        return seen


def rates(cost: Cost, largest: int = 8) -> dict[str, dict[str, float]]:
    """What a worker reports, as it arrives: the keys of JSON are texts."""
    return {RATES_FACT: {str(size): 1 / cost(size) for size in sizes_up_to(largest)}}


def share(seen: Counter[int], size: int) -> float:
    return seen[size] / seen.total()


@pytest.mark.parametrize(("largest", "sizes"), [(1, (1,)), (6, (1, 2, 4, 6)), (8, (1, 2, 4, 8))])
def test_sizes_are_powers_of_two_and_the_largest(largest: int, sizes: tuple[int, ...]) -> None:
    assert sizes_up_to(largest) == sizes


@pytest.mark.parametrize(("cost", "best"), [(ONE_BY_ONE, 1), (IN_FOURS, 4), (IN_EIGHTS, 8)])
def test_the_warm_up_decides_the_best_batch_at_first(cost: Cost, best: int) -> None:
    sizes = BatchSizes(8)
    assert sizes.best == 8  # nothing is known
    sizes.measured(rates(cost))
    assert sizes.best == best
    assert sizes.images_per_s == {n: round(1 / cost(n), 1) for n in (1, 2, 4, 8)}


def test_the_warm_up_prefers_the_smallest_of_sizes_that_are_as_good() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(costs({1: 0.0101, 2: 0.0100, 4: 0.0101})))
    assert sizes.best == 1


@pytest.mark.parametrize("facts", [{}, {RATES_FACT: None}, {RATES_FACT: {"1": 5.0}}])
def test_without_a_measurement_of_all_sizes_batches_are_as_large_as_the_setting(
    facts: dict[str, object],
) -> None:
    sizes = BatchSizes(8)
    sizes.measured(facts)
    assert sizes.best == 8
    assert sizes.size_for("a", 5, 0.0) == 5


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(("cost", "best"), [(ONE_BY_ONE, 1), (IN_FOURS, 4), (IN_EIGHTS, 8)])
@pytest.mark.parametrize("warm_up", [ONE_BY_ONE, IN_FOURS, IN_EIGHTS])
def test_runs_find_the_best_batch_whatever_the_warm_up_said(
    cost: Cost, best: int, warm_up: Cost, seed: int
) -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(warm_up))
    machine = Machine(sizes, seed)
    machine.serve(4000, cost)
    assert sizes.best == best
    # And trials of the others are few.
    assert share(machine.serve(2000, cost), best) > 0.9


def test_a_model_that_changes_its_mind_is_followed() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(IN_EIGHTS))
    machine = Machine(sizes)
    for cost, best in ((IN_EIGHTS, 8), (ONE_BY_ONE, 1), (IN_FOURS, 4), (IN_EIGHTS, 8)):
        machine.serve(10_000, cost)
        assert sizes.best == best


def test_sizes_that_are_as_good_do_not_take_turns() -> None:
    sizes = BatchSizes(8)
    machine = Machine(sizes)
    changes = 0
    for _ in range(8000):
        before = sizes.best
        machine.serve(1, lambda _images: 0.01)
        changes += sizes.best != before
    assert changes <= 3


def test_every_size_is_tried_again_and_again() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(IN_EIGHTS))
    machine = Machine(sizes)
    machine.serve(10_000, IN_EIGHTS)
    for _ in range(3):
        seen = machine.serve(20_000, IN_EIGHTS)
        assert set(seen) == {1, 2, 4, 8}


@pytest.mark.parametrize("others", [1.05, 1.5, 2.0])
def test_trials_cost_little(others: float) -> None:
    def cost(images: int) -> float:
        return 0.01 if images == 1 else 0.01 * others

    sizes = BatchSizes(8)
    sizes.measured(rates(cost))
    machine = Machine(sizes, noise=0.1)
    machine.serve(3000, cost)  # the first trials come at once
    seen = machine.serve(10_000, cost)
    lost = sum(images * (cost(size) / cost(1) - 1) for size, images in seen.items())
    assert lost / seen.total() < 0.02


def test_of_few_that_wait_as_many_run_as_are_fastest() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(IN_FOURS))
    usual = [BatchSizes._usual(sizes, waiting) for waiting in (1, 2, 3, 4, 5, 30)]
    assert usual == [1, 2, 3, 4, 4, 4]
    sizes = BatchSizes(8)
    sizes.measured(rates(costs({1: 0.010, 2: 0.015, 4: 0.015, 8: 0.005})))
    assert [BatchSizes._usual(sizes, waiting) for waiting in (1, 2, 3, 4, 7, 8)] == [1] * 5 + [8]


def test_a_service_with_little_to_do_tries_nothing() -> None:
    sizes = BatchSizes(8)
    for _ in range(20):
        assert sizes.size_for("a", 30, 0.0) == 8
        sizes.ran("a", 8, 0.01, 0.0)


def test_nothing_larger_is_tried_than_what_waits() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(ONE_BY_ONE))
    machine = Machine(sizes)
    assert set(machine.serve(5000, ONE_BY_ONE, waiting=3)) <= {1, 2}


def test_a_trial_ends_when_too_few_wait_or_its_worker_is_lost() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(ONE_BY_ONE))
    for _ in range(100):
        if sizes._trial is None:
            sizes.ran("a", sizes.size_for("a", 30, 0.0), 0.01, 0.0)
    tried = sizes.size_for("a", 30, 0.0)
    sizes.ran("a", tried, 0.01, 1.0)
    assert sizes._trial is not None
    sizes.worker_lost("b")
    assert sizes._trial is not None
    sizes.worker_lost("a")
    assert sizes._trial is None
    while sizes.size_for("a", 30, 2.0) == 1:
        sizes.ran("a", 1, 0.01, 2.0)
    trial = sizes._trial
    assert trial is not None
    sizes.ran("a", 1, 0.01, 3.0)  # fewer came than the trial asked for
    assert sizes._trial is None
    while sizes.size_for("a", 30, 4.0) == 1:
        sizes.ran("a", 1, 0.01, 4.0)
    assert sizes.size_for("a", 1, 4.0) == 1  # fewer wait
    assert sizes._trial is None


def test_a_restarted_worker_does_not_undo_what_runs_have_shown() -> None:
    sizes = BatchSizes(8)
    sizes.measured(rates(IN_EIGHTS))
    machine = Machine(sizes)
    machine.serve(8000, ONE_BY_ONE)
    assert sizes.best == 1
    sizes.measured(rates(IN_EIGHTS))
    assert sizes.best == 1


def test_the_warm_up_is_repeated_only_where_that_is_short() -> None:
    def rounds(build_s: float, round_s: float) -> int:
        now = [build_s]
        count = 0
        for _ in _rounds(lambda: now[0], 0.0):
            now[0] += round_s
            count += 1
        return count

    assert rounds(0.3, 0.01) == 5
    assert rounds(0.3, 0.1) == 3
    assert rounds(2.0, 9.0) == 1
