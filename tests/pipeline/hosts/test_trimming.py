from __future__ import annotations

import asyncio
import contextlib
import sys

import pytest

from pipeline.hosts import trimming
from pipeline.hosts.trimming import MemoryTrim, resident_bytes, trim
from tests.patience import PATIENCE_S

MIB = 2**20

pytestmark = pytest.mark.skipif(trim() is None, reason="this C library has no malloc_trim")


class Fragments:
    """Memory of which the C library gives nothing back by itself: the last piece is in use."""

    def __init__(self, mib: int) -> None:
        pieces = [bytes(4000) for _ in range(mib * MIB // 4000)]
        self.last = pieces.pop()


def test_freed_memory_is_given_back() -> None:
    trim()
    before = resident_bytes()
    fragments = Fragments(100)
    kept = resident_bytes() - before
    assert trim()
    assert kept > 50 * MIB
    assert resident_bytes() - before < kept / 2
    assert sys.getsizeof(fragments.last) > 4000


@pytest.mark.parametrize("busy", [False, True])
async def test_it_is_done_when_requests_are_done_and_sometimes_while_they_never_cease(
    monkeypatch: pytest.MonkeyPatch, busy: bool
) -> None:
    monkeypatch.setattr(trimming, "_LOOK_EVERY_S", 0.01)
    looks = []

    def is_busy() -> bool:
        looks.append(busy)
        return busy

    trims = MemoryTrim(is_busy)
    task = asyncio.create_task(trims.run())
    while not trims._kept:
        await asyncio.sleep(0.01)
    before = trims._kept
    fragments = Fragments(100)

    async def given_back() -> None:
        while await asyncio.to_thread(resident_bytes) > before + 50 * MIB:
            await asyncio.sleep(0.01)

    await asyncio.wait_for(given_back(), PATIENCE_S)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert len(looks) >= (15 if busy else 1)
    assert sys.getsizeof(fragments.last) > 4000
