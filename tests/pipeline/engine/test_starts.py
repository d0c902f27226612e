"""When a worker's next start is due, and when the worker is expected."""

from __future__ import annotations

import math

import pytest

from pipeline.engine.starts import REPEATED_FAILURES, Starts
from pipeline.settings.engine import EngineSettings

SETTINGS = EngineSettings(restart_backoff_s=1.0, restart_backoff_limit_s=5.0, stable_s=30.0)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def starts(clock: Clock) -> Starts:
    return Starts(SETTINGS, clock)


def live(starts: Starts, clock: Clock, *, start_s: float, life_s: float) -> None:
    starts.begin()
    clock.now += start_s
    starts.succeed()
    ready_since = clock.now
    clock.now += life_s
    starts.interrupt()
    starts.end(ready_since)


def test_back_off_doubles_up_to_its_limit_and_begins_anew_after_a_stable_life(
    starts: Starts, clock: Clock
) -> None:
    waits = []
    for _ in range(4):
        starts.begin()
        starts.fail(None)
        waits.append(starts.plan())
    assert waits == [1.0, 2.0, 4.0, 5.0]
    live(starts, clock, start_s=1, life_s=31)
    assert starts.plan() == 1.0


def test_a_worker_is_expected_after_the_time_of_its_last_start(
    starts: Starts, clock: Clock
) -> None:
    assert starts.expected_at == math.inf  # no start has succeeded yet
    live(starts, clock, start_s=4, life_s=10)
    due = clock.now + starts.plan()
    assert starts.expected_at == due + 4
    clock.now = due + 2 * 4 + 2.5
    assert starts.expected_at == math.inf  # it takes far longer than the last one


def test_repeated_failures_or_a_public_cause_make_a_start_unlikely(
    starts: Starts, clock: Clock
) -> None:
    live(starts, clock, start_s=1, life_s=1)
    for _ in range(REPEATED_FAILURES):
        assert not starts.unlikely
        starts.fail(None)
    assert starts.unlikely
    assert starts.expected_at == math.inf
    starts.succeed()
    assert not starts.unlikely
    starts.fail("the files changed")
    assert starts.unlikely
