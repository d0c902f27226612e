"""Time in which this process did not run is not counted."""

from __future__ import annotations

import asyncio
import time

from pipeline.engine.time_limit import TimeLimit


async def test_a_limit_ends_after_its_seconds_of_running() -> None:
    ended = asyncio.Event()
    began = time.monotonic()
    TimeLimit(1.2, ended.set)
    await asyncio.wait_for(ended.wait(), 60)
    assert time.monotonic() - began >= 1.19


async def test_a_limit_that_is_cancelled_never_ends() -> None:
    ended = asyncio.Event()
    limit = TimeLimit(0.01, ended.set)
    limit.cancel()
    limit.cancel()
    await asyncio.sleep(0.05)
    assert not ended.is_set()


async def test_a_pause_does_not_count() -> None:
    ended = asyncio.Event()
    limit = TimeLimit(60.0, ended.set)
    loop = asyncio.get_running_loop()
    real = loop.time
    loop.time = lambda: real() + 3600  # type: ignore[method-assign]
    try:
        while limit._left_s == 60.0:
            await asyncio.sleep(0.01)
        assert limit._left_s > 30
        assert not ended.is_set()
    finally:
        loop.time = real  # type: ignore[method-assign]
        limit.cancel()
