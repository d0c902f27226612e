"""Engines with real worker processes and classifiers without a model."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from pipeline.engine.command import WorkerCommand
from pipeline.engine.engine import Engine
from pipeline.settings.engine import EngineSettings
from tests.patience import PATIENCE_S

FAKES = str(Path(__file__).resolve().parent)


class MakeEngine(Protocol):
    """Makes an engine over the fake classifier; started unless `start=False`."""

    async def __call__(
        self,
        fake: dict[str, Any] | None = None,
        *,
        start: bool = True,
        factory: str = "engine_fakes:build",
        command: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Engine: ...


@contextlib.asynccontextmanager
async def _engine_scope() -> AsyncIterator[MakeEngine]:
    engines: list[Engine] = []

    async def make(
        fake: dict[str, Any] | None = None,
        *,
        start: bool = True,
        factory: str = "engine_fakes:build",
        command: dict[str, Any] | None = None,
        **settings: Any,
    ) -> Engine:
        options: dict[str, Any] = {"environment": {}, **(command or {})}
        options["environment"] = {"PYTHONPATH": FAKES, **options["environment"]}
        worker = WorkerCommand(json.dumps(fake or {}), factory=factory, **options)
        defaults: dict[str, Any] = {
            "workers": 1,
            "timeout_s": 60.0,  # a busy machine's time
            "restart_backoff_s": 0.02,
            "stop_grace_s": 1.0,
        }
        engine = Engine("fake", worker, EngineSettings(**{**defaults, **settings}))
        engines.append(engine)
        if start:
            await asyncio.wait_for(engine.start(), PATIENCE_S)
        return engine

    try:
        yield make
    finally:
        for engine in engines:
            await asyncio.wait_for(engine.close(), PATIENCE_S)


@pytest.fixture
def engine_scope() -> Callable[[], contextlib.AbstractAsyncContextManager[MakeEngine]]:
    """For a test that runs a loop of its own: engines that are closed at the scope's end."""
    return _engine_scope


@pytest.fixture
async def make_engine() -> AsyncIterator[MakeEngine]:
    async with _engine_scope() as make:
        yield make


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    """Wait until a condition holds, or the test's patience ends."""

    async def wait(condition: Callable[[], object]) -> None:
        async def poll() -> None:
            while not condition():
                await asyncio.sleep(0.005)

        await asyncio.wait_for(poll(), PATIENCE_S)

    return wait


@pytest.fixture
def alive() -> Callable[[int], bool]:
    """Whether a process is there and no zombie."""

    def is_alive(pid: int) -> bool:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return False
        return state != "Z"

    return is_alive


@pytest.fixture
def batches(tmp_path: Path) -> Callable[[], list[list[str]]]:
    """What the workers computed so far, batch by batch; give the fake {"log": batches.path}."""
    log = tmp_path / "batches.jsonl"

    def read() -> list[list[str]]:
        if not log.exists():
            return []
        return [json.loads(line)[1] for line in log.read_text().splitlines()]

    read.path = str(log)  # type: ignore[attr-defined]
    return read


def _children() -> dict[int, str]:
    """Process number -> state of the processes that this one started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,state=", "--ppid", str(os.getpid())],
        capture_output=True,
        text=True,
        check=False,
    )
    return {int(pid): state for pid, state in map(str.split, listed.stdout.splitlines())}


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Any:
    """Every worker is reaped when its engine is closed."""
    before = _children()
    yield
    left = [pid for pid, state in _children().items() if state == "Z" and pid not in before]
    assert not left, f"{left} were left as zombies"
