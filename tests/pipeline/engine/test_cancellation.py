"""Callers that disconnect or time out, and their neighbours in the same batch."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from protocol.errors import DeadlineExceeded
from protocol.request import encoded
from tests.patience import PATIENCE_S


def start(engine, image, **options):
    return asyncio.ensure_future(engine.classify(encoded([image]), **options))


def label(results):
    return results[0][0].label


async def busy(engine, until, seconds=0.6):
    """Occupy the only worker; what comes now has to wait."""
    task = start(engine, b"sleep:%g" % seconds)
    await until(lambda: engine.status().workers[0].state == "busy")
    return task


async def running_batch(engine, until, images):
    """Start all images as one batch and return their tasks while it runs."""
    blocker = await busy(engine, until, 0.4)
    tasks = [start(engine, image) for image in images]
    await until(lambda: engine.status().waiting == len(images))
    await blocker
    await until(lambda: engine.status().waiting == 0)
    assert not any(task.done() for task in tasks)
    return tasks


async def test_a_cancelled_caller_in_a_running_batch_disturbs_no_other(make_engine, until, batches):
    engine = await make_engine({"log": batches.path})
    first, gone, last = await running_batch(engine, until, [b"sleep:0.5", b"echo:b", b"echo:c"])
    gone.cancel()
    assert label(await asyncio.wait_for(first, PATIENCE_S)) == "sleep:0.5"
    assert label(await asyncio.wait_for(last, PATIENCE_S)) == "echo:c"
    assert gone.cancelled()
    assert batches()[1] == ["sleep:0.5", "echo:b", "echo:c"]
    counters = engine.status().counters
    assert (counters.answered, counters.abandoned) == (3, 1)


async def test_all_waiters_of_a_running_batch_may_go(make_engine, until):
    engine = await make_engine()
    tasks = await running_batch(engine, until, [b"sleep:0.5", b"echo:b", b"echo:c"])
    for task in tasks:
        task.cancel()
    assert label(await asyncio.wait_for(start(engine, b"echo:next"), PATIENCE_S)) == "echo:next"
    assert engine.status().counters.abandoned == 3
    assert engine.status().workers[0].restarts == 0


async def test_a_waiter_cancelled_in_the_queue_is_never_computed(make_engine, until, batches):
    engine = await make_engine({"log": batches.path}, queue_size=2)
    blocker = await busy(engine, until)
    gone, stays = start(engine, b"echo:gone"), start(engine, b"echo:stays")
    await until(lambda: engine.status().waiting == 2)
    gone.cancel()
    await asyncio.sleep(0)
    assert engine.status().waiting == 1  # its place is free at once
    late = start(engine, b"echo:late")
    results = await asyncio.wait_for(asyncio.gather(blocker, stays, late), PATIENCE_S)
    assert [label(r) for r in results] == ["sleep:0.6", "echo:stays", "echo:late"]
    assert batches() == [["sleep:0.6"], ["echo:stays", "echo:late"]]


async def test_cancelling_before_the_first_batch_is_formed(make_engine, batches):
    engine = await make_engine({"log": batches.path})
    task = start(engine, b"echo:gone")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})
    assert label(await asyncio.wait_for(start(engine, b"echo:next"), PATIENCE_S)) == "echo:next"


async def test_a_request_of_several_images_is_abandoned_as_a_whole(make_engine, until, batches):
    engine = await make_engine({"log": batches.path}, batch_size=1)
    task = asyncio.ensure_future(engine.classify(encoded([b"sleep:0.5", b"echo:b", b"echo:c"])))
    await until(lambda: engine.status().waiting == 2)
    task.cancel()
    await asyncio.wait({task})
    assert label(await asyncio.wait_for(start(engine, b"echo:next"), PATIENCE_S)) == "echo:next"
    assert batches() == [["sleep:0.5"], ["echo:next"]]
    assert engine.status().counters.abandoned == 3


async def test_a_deadline_in_a_running_batch_ends_only_its_own_request(make_engine, until):
    engine = await make_engine()
    blocker = await busy(engine, until, 0.2)
    # Time enough for both to go in one batch, whatever the machine made of the 0.2 seconds.
    short = start(engine, b"sleep:6", timeout_s=4.0)
    patient = start(engine, b"echo:patient")
    await blocker
    with pytest.raises(DeadlineExceeded, match=r"no answer within 4 s"):
        await asyncio.wait_for(short, PATIENCE_S)
    assert not patient.done()
    assert label(await asyncio.wait_for(patient, PATIENCE_S)) == "echo:patient"
    status = engine.status()
    assert (status.counters.expired, status.counters.answered) == (1, 2)
    assert status.workers[0].restarts == 0


async def test_an_entry_that_expires_in_the_queue_is_never_computed(make_engine, until, batches):
    engine = await make_engine({"log": batches.path})
    blocker = await busy(engine, until)
    with pytest.raises(DeadlineExceeded):
        await asyncio.wait_for(engine.classify(encoded([b"echo:late"]), timeout_s=0.05), PATIENCE_S)
    assert engine.status().waiting == 0
    await blocker
    await engine.classify(encoded([b"echo:next"]))
    assert batches() == [["sleep:0.6"], ["echo:next"]]


async def test_no_time_at_all_is_a_deadline_exceeded_too(make_engine, batches):
    engine = await make_engine({"log": batches.path})
    for timeout_s in (0.0, -1.0):
        with pytest.raises(DeadlineExceeded):
            await asyncio.wait_for(
                engine.classify(encoded([b"echo:a"]), timeout_s=timeout_s), PATIENCE_S
            )
    assert batches() == []


async def test_one_slow_batch_keeps_no_short_deadline_from_an_idle_worker(make_engine, batches):
    """How long a batch took says nothing certain of the next: its worker may have been stopped."""
    engine = await make_engine({"log": batches.path})
    await asyncio.wait_for(engine.classify(encoded([b"sleep:3"])), PATIENCE_S)
    for image in (b"echo:a", b"echo:b"):
        results = await asyncio.wait_for(
            engine.classify(encoded([image]), timeout_s=2.9), PATIENCE_S
        )
        assert label(results) == image.decode()
    assert batches() == [["sleep:3"], ["echo:a"], ["echo:b"]]


async def test_entries_that_are_likely_late_go_behind_the_others(make_engine, until, batches):
    engine = await make_engine({"log": batches.path})
    await asyncio.wait_for(engine.classify(encoded([b"sleep:1"])), PATIENCE_S)
    blocker = await busy(engine, until, 1.0)
    short = start(engine, b"echo:short", timeout_s=1.2)
    patient = start(engine, b"echo:patient")
    await until(lambda: engine.status().waiting == 2)
    await asyncio.wait_for(asyncio.gather(blocker, patient), PATIENCE_S)
    await asyncio.wait({short})
    with contextlib.suppress(DeadlineExceeded):  # on a machine with no time to spare
        assert label(short.result()) == "echo:short"
    assert batches()[2] == ["echo:patient"]


async def test_cancel_and_deadline_at_once_are_counted_once(make_engine, until):
    engine = await make_engine()
    blocker = await busy(engine, until)
    tasks = [start(engine, b"echo:a", timeout_s=0.05) for _ in range(5)]
    await asyncio.sleep(0.05)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await blocker
    counters = engine.status().counters
    assert counters.expired + counters.abandoned == 5
    assert counters.admitted == 6


async def test_the_service_timeout_bounds_a_longer_one_of_the_caller(make_engine):
    engine = await make_engine(timeout_s=0.2, hang_grace_s=5.0)
    with pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        await asyncio.wait_for(engine.classify(encoded([b"sleep:0.6"]), timeout_s=60.0), PATIENCE_S)
