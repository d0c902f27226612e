"""What a stop waits for, and what it cuts off."""

from __future__ import annotations

import asyncio

from pipeline.admission.running import RunningRequests
from tests.patience import PATIENCE_S


async def test_a_stop_waits_for_what_runs_and_not_for_what_comes_later() -> None:
    running = RunningRequests()
    running.begin("upload", lambda: None)
    running.begin("short", lambda: None)
    stop = asyncio.create_task(running.ended(PATIENCE_S))
    await asyncio.sleep(0)
    running.begin("late", lambda: None)
    running.end("short")
    await asyncio.sleep(0)
    assert not stop.done()
    running.end("upload")
    assert await stop
    assert len(running) == 1
    assert running.cut_off == 0


async def test_nothing_runs() -> None:
    assert await RunningRequests().ended(PATIENCE_S)


async def test_what_does_not_end_in_time_is_cut_once() -> None:
    running = RunningRequests()
    cut: list[str] = []

    def end_both() -> None:
        cut.append("first")
        running.end("first")
        running.end("second")  # ended by the first: it is not cut

    running.begin("first", end_both)
    running.begin("second", lambda: cut.append("second"))
    assert not await running.ended(0)
    running.cut()
    assert running.is_cutting
    assert cut == ["first"]
    assert running.cut_off == 1
    running.end("first")  # again, as a connection that is lost does
    assert len(running) == 0
