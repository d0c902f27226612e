"""Workers that the memory has no room for are not started; a kill for memory is reported as one."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.engine.command import WorkerCommand
from pipeline.engine.engine import Engine, EngineStartError
from pipeline.engine.memory import how_killed, memory_of
from pipeline.settings.engine import EngineSettings
from pipeline.settings.machine import Machine
from tests.patience import PATIENCE_S
from tests.pipeline.engine.conftest import FAKES

MIB = 2**20


class Small(Machine):
    """A machine with so much free memory, whatever runs on it."""

    def __init__(self, free: int) -> None:
        super().__init__(Path("/nowhere"))
        self.free = free

    def free_bytes(self) -> int:
        return self.free

    def memory_bytes(self) -> int:
        return 4096 * MIB


def engine(machine: Machine, workers: int) -> Engine:
    command = WorkerCommand("{}", factory="engine_fakes:build", environment={"PYTHONPATH": FAKES})
    return Engine("fake", command, EngineSettings(workers=workers), machine=machine)


async def test_as_many_workers_as_have_room_are_started(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    # A worker without a model takes some 20 MiB: far fewer than 64 have room.
    small = engine(Small(128 * MIB + 60 * MIB), 64)
    try:
        await asyncio.wait_for(small.start(), PATIENCE_S)
        status = small.status()
        assert 2 <= len(status.workers) == small.size < 16
        assert all(worker.restarts == 0 for worker in status.workers)
        said = re.search(r"(\d+) of 64 workers have room \(one takes (\d+) MiB, ", caplog.text)
        assert said, caplog.text
        assert int(said[1]) == small.size
    finally:
        await small.close()


async def test_one_worker_is_started_in_any_case() -> None:
    small = engine(Small(0), 4)
    try:
        await asyncio.wait_for(small.start(), PATIENCE_S)
        assert small.ready
        assert small.size == 1
    finally:
        await small.close()


async def test_an_engine_that_takes_over_from_another_is_as_large_or_not_started() -> None:
    small = engine(Small(0), 4)
    with pytest.raises(
        EngineStartError, match=r"1 of 4 workers have room .* set concurrency lower"
    ):
        await asyncio.wait_for(small.start(all_workers=True), PATIENCE_S)


async def test_two_engines_at_once_do_not_count_the_same_memory_twice() -> None:
    small = Small(128 * MIB + 400 * MIB + 200 * MIB)  # ample for one of them by itself
    both = [engine(small, 1), engine(small, 8)]
    try:
        starts = asyncio.gather(*(each.start() for each in both))
        await asyncio.wait_for(starts, PATIENCE_S)
        assert both[0].size == 1
        assert 1 <= both[1].size <= 8
    finally:
        for each in both:
            await each.close()


def test_the_memory_of_a_process_leaves_out_what_is_not_there() -> None:
    assert memory_of(2**22 + 1) is None
    assert (memory_of(os.getpid()) or 0) > MIB


@pytest.mark.parametrize(
    ("before", "after", "text"),
    [
        (None, None, "the system may be out of memory"),
        (3, 3, "from outside"),
        (3, 4, "the kernel's out-of-memory killer (SIGKILL): the limit is 4096 MiB"),
    ],
)
def test_how_a_sigkill_is_reported(before: int | None, after: int | None, text: str) -> None:
    assert text in how_killed(before, after, 4096 * MIB)


# --- a real limit ---------------------------------------------------------------------------------


@pytest.fixture
def limited() -> Iterator[Callable[[int, int], None]]:
    """A function that limits a process and all it starts to so many bytes, by a cgroup."""
    for parent, name in (("memory", "memory.limit_in_bytes"), ("", "memory.max")):
        folder = Path("/sys/fs/cgroup") / parent / f"paddle-serving-kit-test-{os.getpid()}"
        try:
            folder.mkdir()
            (folder / name).write_text(str(2**40))
        except OSError:
            if folder.is_dir():
                folder.rmdir()
            continue
        break
    else:
        pytest.skip("needs root, and cgroups that can be written")

    def limit(pid: int, size: int) -> None:
        (folder / name).write_text(str(size))
        (folder / "cgroup.procs").write_text(str(pid))

    yield limit
    own = Path("/proc/self/cgroup").read_text()
    home = re.search(r"^\d+:memory:(.*)$", own, re.MULTILINE)
    assert home is None or folder.name not in home[1]
    for _ in range(500):
        try:
            folder.rmdir()
            break
        except OSError:  # its processes are ending
            time.sleep(0.02)


PROGRAM = """
import asyncio, logging, os, sys
sys.path.insert(0, {root!r})
from pipeline.engine.command import WorkerCommand
from pipeline.engine.engine import Engine
from pipeline.settings.engine import EngineSettings

async def main():
    sys.stdin.readline()  # until the limit is set
    logging.basicConfig(stream=sys.stdout, level=logging.WARNING)
    path = {{"PYTHONPATH": {folder!r}}}
    command = WorkerCommand("{{}}", factory="greedy:build", environment=path)
    engine = Engine("greedy", command, EngineSettings(workers={workers}))
    await engine.start()
    print("started", engine.size, flush=True)
    if {grow}:
        from protocol.request import encoded
        try:
            print("result", await engine.classify(encoded([b"x"]), timeout_s=30), flush=True)
        except Exception as error:
            print("error", error, flush=True)
        print("cause", engine.status().workers[0].cause, flush=True)
    else:
        await asyncio.sleep(2)
        print("restarts", sum(w.restarts for w in engine.status().workers), flush=True)
    await engine.close()

asyncio.run(main())
"""
GREEDY = """
class Greedy:
    facts = {}
    stages_s = {}
    rest_after_s = None
    def __init__(self):
        self.model = bytearray(b"x" * (60 * 2**20))
    def answer(self, images, budgets_s):
        self.more = bytearray(b"x" * (2 * 2**30))
        return [()] * len(images)

def build(_settings):
    return Greedy()
"""


@pytest.mark.parametrize("grow", [False, True])
async def test_a_container_with_a_limit(
    root: Path, tmp_path: Path, limited: Callable[[int, int], None], grow: bool
) -> None:
    """Of 32 workers so many are started that none is killed; one that grows too far is reported."""
    (tmp_path / "greedy.py").write_text(GREEDY)
    program = PROGRAM.format(
        root=str(root), folder=str(tmp_path), workers=1 if grow else 32, grow=grow
    )
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", program),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        cwd=root,
    )
    assert process.stdin is not None
    limited(process.pid, 640 * MIB)
    process.stdin.write(b"go\n")
    out, _ = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    text = out.decode()
    if grow:
        assert "the kernel's out-of-memory killer (SIGKILL): the limit is 640 MiB" in text
    else:
        started = re.search(r"^started (\d+)$", text, re.MULTILINE)
        assert started, text
        assert 2 <= int(started[1]) <= 8
        assert "restarts 0" in text
        assert "of 32 workers have room" in text
