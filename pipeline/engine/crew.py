"""The workers of one engine: as many as are wanted, or as many as memory has room for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any

from ..settings.engine import EngineSettings
from ..settings.machine import Machine
from .command import WorkerCommand
from .memory import PROMISES, guess_bytes, is_ample, room_beside
from .supervisor import Supervisor, WorkSource

logger = logging.getLogger(__name__)


class NoRoomError(Exception):
    """Not all workers have room, and all were required; one line says why."""


class Crew:
    """Starts the workers, and keeps them alike.

    Attributes:
        workers: those that have been added.
        tasks: one for each of them, which ends with it.
        complete: whether all have been added that there will be.
    """

    def __init__(
        self,
        name: str,
        settings: EngineSettings,
        source: WorkSource,
        machine: Machine,
        on_readiness: Callable[[], None],
    ) -> None:
        """Prepare the workers of service `name`, which report to `source`.

        `on_readiness` is called whenever one of them has become ready, or is no more.
        """
        self.workers: list[Supervisor] = []
        self.tasks: list[asyncio.Task[None]] = []
        self.complete = False
        self._name = name
        self._settings = settings
        self._source = source
        self._machine = machine
        self._on_readiness = on_readiness
        self._closed = False
        self._code: list[Any] = []  # what the first worker reported of its classifier's code
        self._rest: asyncio.Task[None] | None = None

    @property
    def size(self) -> int:
        """How many workers there are: those of the settings, or fewer where memory is short."""
        return len(self.workers) if self.complete else self._settings.workers

    async def start(
        self,
        command: WorkerCommand,
        on_start: Callable[[Supervisor], None],
        *,
        all_workers: bool,
    ) -> None:
        """Start the workers that run `command`; `on_start` is called after each attempt.

        Where memory may be short, one is measured, when it is warm, before others are started.

        Raises:
            NoRoomError: `all_workers` are required, and do not have room.
        """
        files = command.files
        model_bytes = sum(mark.size for mark in files.marks.values()) if files is not None else 0
        wanted = self._settings.workers
        guess = guess_bytes(wanted, model_bytes)
        PROMISES.make(self, guess)
        if wanted == 1 or await asyncio.to_thread(
            is_ample, guess + PROMISES.beside(self), self._machine
        ):
            self._add(wanted, command, on_start, last=True)
            return
        PROMISES.make(self, guess_bytes(1, model_bytes))
        self._add(1, command, on_start)
        first = self.workers[0]
        while not (first.state.ready or first.starts.failed or self._closed):
            await first.started()
        lock = PROMISES.lock()  # one engine at a time finds what others have taken
        await lock.acquire()
        try:
            more = await self._room_beside(first, model_bytes, all_workers)
            self._add(more, command, on_start, last=True)
        except BaseException:
            lock.release()
            raise
        self._rest = asyncio.create_task(self._release_when_up(lock))

    def note_start(self) -> None:
        """A worker is ready: when all are, the system counts what they take."""
        if self.complete and all(worker.state.ready for worker in self.workers):
            PROMISES.end(self)

    def is_up_by(self, time: float) -> bool:
        """Whether a worker is up, or by what its last start took will be at `time` of the loop."""
        return any(
            worker.state.ready or worker.starts.expected_at <= time for worker in self.workers
        )

    def why_none_is_up(self) -> str:
        """Return what a caller is to know of workers of which none is ready, in one line."""
        causes = (worker.starts.public_cause for worker in self.workers)
        cause = next((cause for cause in causes if cause is not None), None)
        if cause is not None:
            return f"no worker of service {self._name} can start: {cause}"
        if not all(worker.starts.unlikely for worker in self.workers):
            return (
                f"no worker of service {self._name} is up, and none will be in time; try again "
                "later"
            )
        return f"no worker of service {self._name} can start; the service's log has the cause"

    def close(self) -> None:
        """Add no worker any more."""
        self._closed = True
        PROMISES.end(self)

    async def ended(self) -> None:
        """Wait for what runs beside the workers, after `close`."""
        if self._rest is not None:
            await self._rest

    async def _room_beside(self, first: Supervisor, model_bytes: int, all_workers: bool) -> int:
        more = self._settings.workers - 1
        if not first.state.ready:
            return 0
        each, promised = guess_bytes(1, model_bytes), PROMISES.beside(self)
        room = await asyncio.to_thread(
            room_beside, first.status().pid, each, self._machine, promised
        )
        if self._closed:
            return 0
        if room.more is None or room.more >= more:
            return more
        text = f"{self._name}: {1 + room.more} of {1 + more} workers have room ({room.text})"
        if all_workers:
            raise NoRoomError(f"{text}; free memory, or set concurrency lower")
        logger.warning(
            "service %s; the others are not started; set concurrency to %d, or give more memory",
            text,
            1 + room.more,
        )
        return room.more

    async def _release_when_up(self, lock: asyncio.Lock) -> None:
        try:
            while not self._closed and not all(
                worker.state.ready or worker.starts.failed for worker in self.workers
            ):
                await asyncio.gather(*(worker.started() for worker in self.workers))
        finally:
            lock.release()

    def _add(
        self,
        more: int,
        command: WorkerCommand,
        on_start: Callable[[Supervisor], None],
        *,
        last: bool = False,
    ) -> None:
        self.complete = last
        loop = asyncio.get_running_loop()
        for index in range(len(self.workers), len(self.workers) + more):
            name = f"{self._name}-{index}"
            worker = Supervisor(
                name,
                index,
                command,
                self._settings,
                self._source,
                self._unfit,
                self._on_readiness,
            )
            self.workers.append(worker)
            self.tasks.append(loop.create_task(worker.run(on_start), name=name))

    def _unfit(self, facts: Mapping[str, Any]) -> str | None:
        """Return why a worker must not serve beside the others: its classifier is another one."""
        code = facts.get("code")
        if not self._code:
            self._code = [code]
        if code == self._code[0]:
            return None
        file = (code or self._code[0])["file"]
        return (
            f"the code of the classifier changed since it was loaded ({file}); reload to take it, "
            "or put it back"
        )
