"""Everything at once: many callers, some of which disconnect, and workers that are killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time

import pytest
import uvloop

from protocol.errors import (
    DeadlineExceeded,
    NotReady,
    Overloaded,
    PredictionFailed,
    UndecodableImage,
)
from protocol.request import encoded
from tests.patience import PATIENCE_S

CALLERS = 16
SECONDS = 3.0


class Harness:
    """Sends images that name themselves, and keeps the books."""

    def __init__(self, engine, seed):
        self.engine = engine
        self.random = random.Random(seed)
        self.sent = self.right = self.cancelled = self.expired = self.overloaded = self.failed = 0
        self.refused = 0
        self.kills = 0
        self.stop_at = time.monotonic() + SECONDS

    async def caller(self, number):
        turn = 0
        while time.monotonic() < self.stop_at:
            turn += 1
            count = self.random.choice((1, 1, 1, 2, 5))
            images = [self.image(f"{number}/{turn}/{i}") for i in range(count)]
            self.sent += count
            await self.one_request(images)

    def image(self, name):
        kind = "bad" if self.random.random() < 0.05 else "echo"
        size = self.random.choice((0, 0, 1000, 200_000))
        return f"{kind}:{name}:".encode() + b"x" * size

    async def one_request(self, images):
        timeout_s = self.random.choice((None, None, None, 0.02))
        request = asyncio.ensure_future(self.engine.classify(encoded(images), timeout_s=timeout_s))
        if self.random.random() < 0.15:
            await asyncio.sleep(self.random.random() * 0.02)
            request.cancel()
        try:
            results = await request
        except asyncio.CancelledError:
            self.cancelled += len(images)
        except DeadlineExceeded:
            self.expired += len(images)
        except Overloaded:
            self.overloaded += len(images)
        except NotReady:
            self.refused += len(images)  # while both workers are down
        else:
            assert len(results) == len(images)
            for image, result in zip(images, results, strict=True):
                self.check(image, result)

    def check(self, image, result):
        if isinstance(result, PredictionFailed):
            self.failed += 1  # its worker was killed twice: unlucky, but reported
        elif image.startswith(b"bad"):
            assert isinstance(result, UndecodableImage)
            self.right += 1
        else:
            name = image[:70].decode()
            expected = image.decode() if len(image) <= 80 else f"{name}+{len(image)}"
            assert (result[0].label, result[0].class_id) == (expected, len(image))
            self.right += 1

    async def killer(self):
        while time.monotonic() < self.stop_at:
            await asyncio.sleep(self.random.uniform(0.05, 0.4))
            up = [w for w in self.engine.status().workers if w.state.ready]
            if up:
                self.kills += 1
                os.kill(
                    self.random.choice(up).pid, self.random.choice((signal.SIGKILL, signal.SIGSEGV))
                )


async def run(make_engine, seed):
    engine = await make_engine(
        {"delay_s": 0.001}, workers=2, queue_size=24, restart_backoff_limit_s=0.1, timeout_s=30.0
    )
    harness = Harness(engine, seed)
    callers = [harness.caller(number) for number in range(CALLERS)]
    await asyncio.wait_for(asyncio.gather(harness.killer(), *callers), PATIENCE_S)
    assert harness.kills > 0
    assert harness.right > 100
    # Every image that was sent has exactly one outcome, here and in the engine's own books.
    outcomes = (harness.right, harness.cancelled, harness.expired, harness.failed)
    assert sum(outcomes) + harness.overloaded + harness.refused == harness.sent
    counters = engine.status().counters
    settled = counters.answered + counters.failed + counters.expired + counters.abandoned
    assert counters.admitted == settled
    # A caller that cancels before its task has run was never seen by the engine.
    assert counters.admitted + counters.rejected <= harness.sent
    status = engine.status()
    assert (status.waiting, status.open_requests) == (0, 0)
    assert sum(worker.restarts for worker in status.workers) > 0


async def test_nothing_is_lost_or_mixed_up(make_engine):
    await run(make_engine, seed=1)


def test_nothing_is_lost_or_mixed_up_on_uvloop(engine_scope):
    async def main():
        async with engine_scope() as make_engine:
            await run(make_engine, seed=2)

    uvloop.run(main())


@pytest.mark.parametrize("pidfd", [True, False])
def test_death_hang_and_drain_on_uvloop(engine_scope, until, pidfd, monkeypatch):
    if not pidfd:  # as on a kernel that has none
        monkeypatch.delattr(os, "pidfd_open")

    async def main():
        async with engine_scope() as make_engine:
            engine = await make_engine(
                workers=1, timeout_s=0.5, hang_grace_s=0.1, factory="engine_fakes:build_forking"
            )
            with pytest.raises(DeadlineExceeded):
                await engine.classify(encoded([b"hang:x"]))
            await until(lambda: engine.status().workers[0].restarts == 1)
            await until(lambda: engine.ready)
            os.kill(engine.status().workers[0].pid, signal.SIGKILL)
            await until(lambda: engine.status().workers[0].restarts == 2)
            await until(lambda: engine.ready)
            results = await engine.classify(encoded([b"echo:a"]))
            assert results[0][0].label == "echo:a"
            assert await engine.drain(PATIENCE_S)

    uvloop.run(main())
