"""Estimates of work: the pace that is learned, and whose turn it is."""

from __future__ import annotations

import asyncio
import struct

import cv2
import numpy as np
import pytest

from pipeline.engine.decode_memory import DecodeMemory
from pipeline.engine.entries import Entry, Request
from pipeline.engine.limits import WorkLimits
from pipeline.engine.turns import Turns
from pipeline.engine.waiting import WaitingEntries
from pipeline.engine.work import FACT, Pace, stored_megapixels, work_of
from pipeline.settings.engine import EngineSettings
from pipeline.stages.work import estimated_megapixels
from protocol.errors import DeadlineExceeded, Overloaded, TooLarge
from protocol.request import EncodedImage, encoded


def paced(seconds: float, timeout_s: float = 10.0) -> Pace:
    pace = Pace(timeout_s)
    pace.measured({FACT: seconds})
    return pace


# --- the pace ------------------------------------------------------------------------------------


def test_the_pace_begins_with_what_the_quickest_worker_measured() -> None:
    pace = Pace(10.0)
    for facts in ({}, {FACT: "fast"}, {FACT: -1.0}, {FACT: 0.03}, {FACT: 0.02}, {FACT: 0.04}):
        pace.measured(facts)
    assert pace.typical_s == 0.03
    assert pace.best_s == 0.01


def test_the_pace_follows_batches() -> None:
    pace = paced(0.01)
    for _ in range(100):
        pace.learn(4, 40.0, {"decode": 40.4 * 0.03, "predict": 0.04})
    assert pace.typical_s == pytest.approx(0.03, rel=0.01)
    assert pace.predict_s == pytest.approx(0.01, rel=0.01)
    assert pace.decode_s(100) == pytest.approx(3.0, rel=0.01)
    for _ in range(100):
        pace.learn(4, 40.0, {"decode": 40.4 * 0.004})
    assert pace.typical_s == pace.best_s == pytest.approx(0.004, rel=0.05)


def test_a_batch_without_measurements_teaches_nothing() -> None:
    pace = paced(0.01)
    pace.learn(1, 1.0, {})
    assert (pace.typical_s, pace.predict_s) == (0.01, 0.0)


def test_icons_and_crafted_images_do_not_carry_the_pace_away() -> None:
    pace = paced(0.01)
    for _ in range(100_000):
        pace.learn(1, 0.0001, {"decode": 0.0004})
    assert 0.0025 <= pace.typical_s <= 0.02
    for _ in range(1000):
        pace.learn(1, 0.07, {"decode": 9.0})
    assert pace.typical_s <= 16 * 0.01


def test_the_budget_follows_the_estimate_and_is_never_short() -> None:
    pace = paced(0.01)
    assert pace.budget_s(0.1) >= 1.0
    assert pace.budget_s(245.0) >= 4 * pace.decode_s(245.0)


def test_a_service_with_a_short_timeout_takes_smaller_images_for_heavy() -> None:
    assert not paced(0.005).is_heavy(12.0)  # a phone's photo
    assert paced(0.005).is_heavy(245.0)
    assert paced(0.005, timeout_s=0.2).is_heavy(12.0)
    assert paced(0.0001).is_heavy(100.0)  # whatever was learned


def test_what_the_header_refuses_is_no_work() -> None:
    large = cv2.imencode(".png", np.zeros((1000, 2000, 3), np.uint8))[1].tobytes()
    assert work_of(large, 1.9) == 0.0
    assert work_of(large, 2.0) == estimated_megapixels(large) > 2.0
    assert work_of(b"no image", 2.0) == stored_megapixels(b"no image") == 0.0
    assert stored_megapixels(large[:20]) == 0.0


# --- turns ---------------------------------------------------------------------------------------


def nothing() -> None:
    pass


def of_workers(number: int, memory: DecodeMemory | None = None) -> Turns:
    turns = Turns(memory or DecodeMemory())
    for worker in range(number):
        turns.worker_free(worker)
    return turns


def test_one_worker_of_several_stays_free_for_light_images_while_they_come() -> None:
    turns = of_workers(3)
    turns.light_came(100.0)
    for worker in (0, 1):
        assert turns.may_start_heavy(100.0, nothing)
        turns.heavy_begins(worker, 1.0, 49.0, others=False)
    assert not turns.may_start_heavy(100.0, nothing)
    assert turns.heavy_running_s == 2.0
    assert turns.may_start_heavy(200.0, nothing)  # no light image came for long
    turns.worker_free(1)
    assert turns.may_start_heavy(100.0, nothing)
    turns.worker_lost(0)
    turns.worker_lost(1)
    assert turns.workers == 1
    assert turns.may_start_heavy(100.0, nothing)  # the last one takes both kinds


def test_a_single_worker_gives_each_kind_half_of_its_time() -> None:
    turns = of_workers(1)
    heavy_s = light_s = 0.0
    assert not turns.is_heavy_next()  # light ones first
    for _ in range(1000):
        if turns.is_heavy_next():
            turns.heavy_begins(0, 1.0, 49.0, others=True)
            heavy_s += 1.0
        else:
            turns.light_begins(0.02, others=True)
            light_s += 0.02
        turns.worker_free(0)
    assert heavy_s == pytest.approx(light_s, abs=1.1)


def test_a_light_image_that_comes_after_heavy_ones_is_next() -> None:
    turns = of_workers(1)
    for _ in range(5):
        turns.heavy_begins(0, 1.0, 49.0, others=False)
        turns.worker_free(0)
    assert not turns.is_heavy_next()


def test_memory_limits_heavy_images_of_all_services_together() -> None:
    memory = DecodeMemory()
    memory.limit_by(2 * 60 * 10_000_000)  # room for sixty megapixels at once
    one, other = of_workers(4, memory), of_workers(4, memory)
    called: list[str] = []

    def then() -> None:
        called.append("room")

    one.heavy_begins(0, 1.0, 50.0, others=False)
    assert other.may_start_heavy(0.0, then)
    other.heavy_begins("another", 1.0, 50.0, others=False)
    assert not other.may_start_heavy(0.0, then)
    assert not one.may_start_heavy(0.0, then)
    assert called == []
    one.worker_free(0)
    assert called == ["room"]
    assert other.may_start_heavy(0.0, then)
    memory.limit_by(0)
    other.worker_free("another")
    one.heavy_begins(0, 1.0, 50.0, others=False)
    assert not other.may_start_heavy(0.0, then)
    one.worker_free(0)
    assert one.may_start_heavy(0.0, then)  # one at least, however short memory is


# --- what is refused -----------------------------------------------------------------------------


class House:
    """A queue with a pace of 0.01 s for a megapixel, and two workers."""

    def __init__(self) -> None:
        self.waiting = WaitingEntries(256)
        self.turns = of_workers(2)
        self.pace = paced(0.01)
        self.limits = WorkLimits("waste", EngineSettings(), self)

    def entries(self, *megapixels: float) -> list[Entry]:
        request = Request(len(megapixels), 10.0, 0)
        return [
            Entry(request, i, EncodedImage(b""), work, heavy=self.pace.is_heavy(work))
            for i, work in enumerate(megapixels)
        ]


async def test_an_image_that_can_never_be_in_time_is_named_with_estimate_and_limit() -> None:
    house = House()
    (entry,) = house.entries(245.0)
    assert house.limits.too_heavy(entry, 10.0) is None
    assert house.limits.too_heavy(entry, 2.0) is None  # twice as fast as lately, it may be
    (huge,) = house.entries(2450.0)
    assert isinstance(house.limits.too_heavy(huge, 10.0), TooLarge)
    # Within the service's own time it can be done: only this caller has too little.
    error = house.limits.too_heavy(entry, 1.0)
    assert isinstance(error, DeadlineExceeded)
    assert "245 megapixels" in str(error)
    assert "1.2 s at best" in str(error)
    assert "has 1 s" in str(error)
    assert house.limits.too_heavy(entry, 0.0) is None


async def test_images_that_can_never_be_in_time_together_are_refused() -> None:
    house = House()
    sixteen = house.entries(*[245.0] * 16)
    assert house.limits.refusal(sixteen, 10.0, 0.0) is None  # 39 s at most, on two workers
    error = house.limits.refusal(house.entries(*[245.0] * 17), 10.0, 0.0)
    assert isinstance(error, TooLarge)
    assert "send fewer or smaller images at a time" in str(error)
    hurried = house.limits.refusal(sixteen, 1.0, 0.0)
    assert isinstance(hurried, DeadlineExceeded)
    assert "give it more time" in str(hurried)


async def test_a_queue_of_heavy_images_is_full_when_their_seconds_are_too_many() -> None:
    house = House()
    house.waiting.extend(house.entries(*[245.0] * 4))
    assert house.limits.refusal(house.entries(*[245.0] * 4), 10.0, 0.0) is None
    house.waiting.extend(house.entries(*[245.0] * 4))
    error = house.limits.refusal(house.entries(245.0), 10.0, 0.0)
    assert isinstance(error, Overloaded)
    assert "20 s" in str(error)
    # Light images pass by, also within the same request.
    assert house.limits.refusal(house.entries(1.0, 1.0), 10.0, 0.0) is None
    assert isinstance(house.limits.refusal(house.entries(1.0, 245.0), 10.0, 0.0), Overloaded)


async def test_light_images_are_counted_in_seconds_too() -> None:
    house = House()
    house.waiting.extend(house.entries(*[20.0] * 99))
    assert house.limits.refusal(house.entries(1.0), 10.0, 0.0) is None
    assert isinstance(house.limits.refusal(house.entries(*[20.0] * 2), 10.0, 0.0), Overloaded)


async def test_images_without_work_are_never_refused_for_it() -> None:
    house = House()
    house.waiting.extend(house.entries(*[20.0] * 200))
    assert house.limits.refusal(house.entries(0.0, 0.0), 0.01, 0.0) is None


# --- an engine with real workers -----------------------------------------------------------------


def header_of_png(width: int, height: int) -> bytes:
    """The beginning of a PNG, which the fake classifier takes for a text."""
    return cv2.imencode(".png", np.zeros((1, 1, 3), np.uint8))[1].tobytes()[:16] + struct.pack(
        ">IIBBBBB", width, height, 8, 2, 0, 0, 0
    )


HEAVY = header_of_png(7000, 7000)


async def test_one_hopeless_image_fails_alone(make_engine):
    engine = await make_engine({"facts": {FACT: 10.0}})
    first, second = await engine.classify(encoded([b"echo:a", HEAVY]))
    assert first[0].label == "echo:a"
    assert isinstance(second, TooLarge)
    (alone,) = await engine.classify(encoded([HEAVY]))
    assert isinstance(alone, TooLarge)
    counters = engine.status().counters
    assert (counters.admitted, counters.answered, counters.failed) == (3, 1, 2)
    assert engine.status().open_requests == 0


async def test_a_heavy_image_is_alone_in_its_batch_and_keeps_no_light_one_waiting(
    make_engine, until, batches
):
    engine = await make_engine({"log": batches.path, "delay_s": 0.05}, workers=2, timeout_s=600.0)
    await until(lambda: all(worker.state == "idle" for worker in engine.status().workers))
    images = encoded([b"echo:0", *[HEAVY] * 6])
    many = asyncio.ensure_future(engine.classify(images))
    await until(lambda: len(batches()) >= 2)
    for number in range(3):  # each passes the heavy ones that wait
        await engine.classify(encoded([b"echo:%d" % number]))
    assert not many.done()
    await many
    assert [len(batch) for batch in batches()] == [1] * 10
    assert engine.status().waiting == 0


async def test_the_limit_of_a_batch_follows_its_estimate(make_engine, until):
    """A worker that is busy with legal work is not killed as hanging; light work has less time."""
    engine = await make_engine(
        {"facts": {FACT: 0.01}, "delay_s": 4.0}, timeout_s=3.0, hang_grace_s=0.05, retries=0
    )
    pid = engine.status().workers[0].pid
    with pytest.raises(DeadlineExceeded):
        await engine.classify(encoded([HEAVY]))
    await until(lambda: engine.status().workers[0].state == "idle")
    assert engine.status().workers[0].pid == pid
    assert engine.status().counters.restarts == 0
    with pytest.raises(DeadlineExceeded):
        await engine.classify(encoded([b"hang:x"]))
    await until(lambda: engine.status().counters.restarts == 1)
    assert "hangs" in engine.status().workers[0].cause
