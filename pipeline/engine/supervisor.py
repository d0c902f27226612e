"""Keeps one worker running: start, ready, batches, death, back-off, start again.

    STARTING ──ready──> IDLE <──results── BUSY
        │                 └────batch────>  │
        └── failed, died, too late ── RESTARTING ── back-off ──> STARTING

Whatever ends a worker, its unanswered batch is handed back at once, before anything else.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .command import WorkerCommand
from .entries import Entry
from .frames import Frame, Header
from .process import WorkerProcess
from .settings import EngineSettings
from .status import WorkerState, WorkerStatus

logger = logging.getLogger(__name__)


class Owner(Protocol):
    """Whom a supervisor reports to: the engine."""

    def worker_free(self, worker: Supervisor) -> None:
        """The worker is ready, or has answered its batch: it can take the next one."""

    def worker_answered(self, batch: Sequence[Entry], results: Header) -> None:
        """A batch has its results frame; its rows are as many as its entries."""

    def worker_lost(self, batch: Sequence[Entry]) -> None:
        """The worker is dead or being killed; `batch` (perhaps empty) has no answer."""

    def worker_failed_to_start(self, worker: Supervisor) -> None:
        """The worker ended before it was ready; `cause` says why."""


@dataclass(slots=True)
class _Run:
    """A batch under way, and the timer that kills its worker if it takes for ever."""

    number: int
    entries: Sequence[Entry]
    hang_timer: asyncio.TimerHandle


class Supervisor:
    """One place for a worker, filled again whenever it falls empty.

    Attributes:
        state: where the present worker is in its life.
        facts: what the last worker that was ready told about itself.
        cause: why the last worker ended, in one line; None while none has.
        failed_starts: starts in a row that ended before the worker was ready.
    """

    def __init__(
        self, name: str, index: int, command: WorkerCommand, settings: EngineSettings, owner: Owner
    ) -> None:
        """Prepare worker `index`, called `name` in logs; `run` starts it."""
        self.name = name
        self.state = WorkerState.STARTING
        self.facts: Mapping[str, Any] = {}
        self.cause: str | None = None
        self.failed_starts = 0
        self._index = index
        self._command = command
        self._settings = settings
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._process: WorkerProcess | None = None
        self._run: _Run | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[str] = self._loop.create_future()
        self._stopping = False
        self._number = 0
        self._restarts = 0
        self._batches = 0
        self._images = 0
        self._short_lives = 0

    def status(self) -> WorkerStatus:
        """Return what this worker is doing, and has done over all restarts."""
        pid = self._process.pid if self._process is not None else None
        return WorkerStatus(
            self.name, pid, self.state, self._restarts, self._batches, self._images, self.cause
        )

    async def run(self) -> None:
        """Start the worker, and start it again when it ends, until `stop` or cancellation."""
        try:
            while True:
                await self._live()
                if self._stopping:
                    return
                await asyncio.sleep(self._backoff_s())
                self._restarts += 1
        finally:
            self.state = WorkerState.STOPPED

    def stop(self) -> None:
        """Let the worker leave after what it is doing; one that is not up is killed."""
        self._stopping = True
        if self._process is not None:
            if self.state.ready:
                self._process.hang_up()
            else:
                self._process.kill()

    def send(self, entries: Sequence[Entry]) -> None:
        """Give an idle worker its batch."""
        assert self._process is not None and self.state is WorkerState.IDLE  # noqa: S101, PT018
        self.state = WorkerState.BUSY
        self._number += 1
        self._batches += 1
        self._images += len(entries)
        # Longer than any deadline in the batch: none lies further than timeout_s from admission.
        limit_s = self._settings.timeout_s + self._settings.hang_grace_s
        hang_timer = self._loop.call_later(limit_s, self._hangs, limit_s)
        self._run = _Run(self._number, entries, hang_timer)
        images = [(len(entry.image), entry.topk, entry.threshold) for entry in entries]
        self._process.send(
            {"kind": "batch", "number": self._number, "images": images},
            [entry.image for entry in entries],
        )

    async def _live(self) -> None:
        """Run one worker from its birth to its end."""
        self.state = WorkerState.STARTING
        self._ready = self._loop.create_future()
        self._gone = self._loop.create_future()
        try:
            self._process = WorkerProcess(
                self.name, self._index, self._command, self._received, self._lost
            )
        except OSError as error:
            self._ended(ready_since=None, how=f"cannot be started: {error}")
            return
        ready_since = None
        how = "was stopped"
        try:
            await asyncio.wait(
                (self._ready, self._gone),
                timeout=self._settings.start_timeout_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
            if self._ready.done():
                ready_since = self._loop.time()
            elif not self._gone.done():
                self._kill(f"was not ready within {self._settings.start_timeout_s:g} s")
            await self._gone
        finally:
            self._hand_back()
            how = await self._process.reap()
            output = self._process.last_output
            self._process = None
        self._ended(ready_since, how, output)

    def _ended(self, ready_since: float | None, how: str, output: str = "") -> None:
        """Take note of the end of a worker, and say so."""
        if self._stopping:
            return
        self.state = WorkerState.RESTARTING
        told = self._gone.result() if self._gone.done() else ""
        # A reason of our own ("hangs ...") or the worker's tells more than how the process ended.
        self.cause = told if told and not told.startswith("its ") else how
        stable = (
            ready_since is not None and self._loop.time() - ready_since >= self._settings.stable_s
        )
        self._short_lives = 0 if stable else self._short_lives + 1
        if ready_since is None:
            self.failed_starts += 1
            logger.error("worker %s failed to start: %s", self.name, self.cause)
            self._owner.worker_failed_to_start(self)
        else:
            logger.error(
                "worker %s %s; it is restarted%s", self.name, self.cause, _indented(output)
            )

    def _backoff_s(self) -> float:
        doublings = min(max(self._short_lives - 1, 0), 30)
        return float(
            min(
                self._settings.restart_backoff_s * 2**doublings,
                self._settings.restart_backoff_limit_s,
            )
        )

    def _received(self, frame: Frame) -> None:
        kind = frame.header.get("kind")
        if kind == "results" and self._run is not None:
            self._answered(frame.header, self._run)
        elif kind == "ready" and self.state is WorkerState.STARTING and not self._stopping:
            self.facts = frame.header["facts"]
            self.failed_starts = 0
            self.state = WorkerState.IDLE
            self._ready.set_result(None)
            self._owner.worker_free(self)
        elif kind == "failed" and self.state is WorkerState.STARTING:
            self._lost(str(frame.header["cause"]))
        else:
            self._kill(f"sent {kind!r} out of turn")

    def _answered(self, results: Header, run: _Run) -> None:
        if results["number"] != run.number or len(results["rows"]) != len(run.entries):
            self._kill("answered what it was not asked")
            return
        run.hang_timer.cancel()
        self._run = None
        self.state = WorkerState.IDLE
        self._owner.worker_answered(run.entries, results)
        self._owner.worker_free(self)

    def _hangs(self, limit_s: float) -> None:
        self._kill(f"hangs: no answer to its batch within {limit_s:g} s")

    def _kill(self, reason: str) -> None:
        if self._process is not None:
            self._process.kill()
        self._lost(reason)

    def _lost(self, reason: str) -> None:
        """The worker has ended, or shall: it gets no more work, and its batch is handed back."""
        if not self._gone.done():
            self.state = WorkerState.RESTARTING
            self._gone.set_result(reason)
            self._hand_back()

    def _hand_back(self) -> None:
        run, self._run = self._run, None
        if run is not None:
            run.hang_timer.cancel()
        self._owner.worker_lost(run.entries if run is not None else ())


def _indented(output: str) -> str:
    return "".join(f"\n    {line}" for line in output.splitlines())
