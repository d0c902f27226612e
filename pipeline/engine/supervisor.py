"""Keeps one worker running: start, ready, batches, death, back-off, start again.

    STARTING ──ready──> IDLE ──batch──> BUSY
        │                 │ <──results──  │
        └── failed, died, hangs, too late ┴──> RESTARTING ── back-off ──> STARTING

Whatever ends a worker, its unanswered batch is handed back at once, before anything else.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..settings.engine import EngineSettings
from .command import WorkerCommand
from .entries import Entry
from .frames import Frame, Header, batch_header
from .process import WorkerProcess
from .status import WorkerState, WorkerStatus

logger = logging.getLogger(__name__)

# So many failed starts in a row, and a worker is not expected any more until one succeeds.
REPEATED_FAILURES = 3
# A restart that takes twice as long as the last start, and so many seconds, is not expected either:
# all workers may start at once, on a busy machine, but something may be wrong as well.
_LATE_S = 2.0


class WorkSource(Protocol):
    """Whom a supervisor works for: the dispatcher."""

    def worker_free(self, worker: Supervisor) -> None:
        """The worker can take a batch."""

    def worker_answered(self, batch: Sequence[Entry], results: Header, sent: float) -> None:
        """The results frame of a batch; it has as many rows as the batch has entries.

        `sent` is when the worker got it, a time of the loop's clock.
        """

    def worker_restarts(self) -> None:
        """A worker that ended is started again."""

    def worker_lost(self, worker: Supervisor, batch: Sequence[Entry]) -> None:
        """The worker takes no more work; what it left unanswered, perhaps nothing."""


@dataclass(slots=True)
class _Run:
    """A batch under way, and the timer that kills its worker if it takes for ever."""

    number: int
    sent: float
    entries: Sequence[Entry]
    hang_timer: asyncio.TimerHandle


class Supervisor:
    """One place for a worker, filled again whenever it falls empty.

    Attributes:
        name: the worker's name in logs and status.
        state: where the present worker is in its life.
        facts: what the last worker that was ready told about itself.
        cause: why the last worker ended, in one line; None while none has.
        told: what callers may know of why the last start failed; None if nothing, or if it did not.
        failed_starts: starts in a row that ended before the worker was ready.
    """

    def __init__(
        self,
        name: str,
        index: int,
        command: WorkerCommand,
        settings: EngineSettings,
        source: WorkSource,
    ) -> None:
        """Prepare worker `index` of a service; `run` starts it."""
        self.name = name
        self.state = WorkerState.STARTING
        self.facts: Mapping[str, Any] = {}
        self.cause: str | None = None
        self.told: str | None = None
        self.failed_starts = 0
        self._index = index
        self._command = command
        self._settings = settings
        self._source = source
        self._loop = asyncio.get_running_loop()
        self._process: WorkerProcess | None = None
        self._run: _Run | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[str | None] = self._loop.create_future()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        self._short_lives = 0
        self._start_s: float | None = None  # how long the last start took that succeeded
        self._starts_at = 0.0  # when the present start began, or the next one will
        self._due_since = 0.0  # when the first start began, or will, since the last worker ended
        self._told: str | None = None  # what the present worker told, if it failed to start
        self._restarts = 0
        self._batches = 0
        self._images = 0

    def status(self) -> WorkerStatus:
        """Return what this worker is doing, and has done over all restarts."""
        pid = self._process.pid if self._process is not None else None
        return WorkerStatus(
            self.name, pid, self.state, self._restarts, self._batches, self._images, self.cause
        )

    @property
    def hopeless(self) -> bool:
        """Whether no start is likely to succeed before something outside has changed."""
        return self.told is not None or self.failed_starts >= REPEATED_FAILURES

    @property
    def expected_at(self) -> float:
        """When a worker that is not up is likely to be; infinity if nothing speaks for it."""
        if self.hopeless or self._start_s is None:
            return math.inf
        if self._loop.time() > self._due_since + 2 * self._start_s + _LATE_S:
            return math.inf
        return self._starts_at + self._start_s

    async def run(self, on_start: Callable[[Supervisor], None]) -> None:
        """Start the worker, and again when it ends, until `stop`.

        `on_start` is called after every attempt to start; `failed_starts` is 0 if it succeeded.
        """
        try:
            while not self._stop.done():
                try:
                    await self._live(on_start)
                except Exception as error:  # a fault of ours; a worker's place is never given up
                    logger.exception("worker %s: its supervisor failed", self.name)
                    self._failed_to_start(f"cannot be supervised: {error}", on_start)
                backoff_s = self._backoff_s()
                self._starts_at = self._loop.time() + backoff_s
                if not self.failed_starts:
                    self._due_since = self._starts_at
                await asyncio.wait((self._stop,), timeout=backoff_s)
                if not self._stop.done():
                    self._restarts += 1
                    self._source.worker_restarts()
        finally:
            self.state = WorkerState.STOPPED

    def stop(self, *, now: bool = False) -> None:
        """Start no worker any more; let the present one leave after what it is doing.

        One that is not up yet, or any if `now`, is killed.
        """
        if not self._stop.done():
            self._stop.set_result(None)
        if self._process is not None:
            if self.state.ready and not now:
                self._process.hang_up()
            else:
                self._kill("was stopped")

    def send(self, entries: Sequence[Entry]) -> None:
        """Give an idle worker its batch."""
        assert self._process is not None, self.state  # noqa: S101 - for mypy and for readers
        self.state = WorkerState.BUSY
        self._batches += 1
        self._images += len(entries)
        # Longer than any deadline in the batch: none lies further than timeout_s from admission.
        limit_s = self._settings.timeout_s + self._settings.hang_grace_s
        hang_timer = self._loop.call_later(limit_s, self._hangs, limit_s)
        self._run = _Run(self._batches, self._loop.time(), entries, hang_timer)
        images = [entry.image for entry in entries]
        log_ids = [entry.request.log_id for entry in entries]
        header = batch_header(self._batches, images, log_ids)
        self._process.send(header, [image.data for image in images])

    async def _live(self, on_start: Callable[[Supervisor], None]) -> None:
        """Run one worker from its birth to its end."""
        self.state = WorkerState.STARTING
        self._ready = self._loop.create_future()
        self._gone = self._loop.create_future()
        self._starts_at = self._loop.time()
        self._told = None
        limit_s = self._settings.start_timeout_s
        try:
            self._process = WorkerProcess(
                self.name, self._index, self._command, self._received, self._lost
            )
        except OSError as error:
            self._failed_to_start(f"cannot be started: {error}", on_start)
            return
        try:
            await asyncio.wait(
                (self._ready, self._gone), timeout=limit_s, return_when=asyncio.FIRST_COMPLETED
            )
            ready_since = self._loop.time() if self._ready.done() else None
            if ready_since is not None:
                on_start(self)
            elif not self._gone.done():
                self._kill(f"was not ready within {limit_s:g} s")
            reason = await self._gone
        finally:
            self._lost(None)
            how = await self._process.reap()
            output = self._process.last_output
            self._process = None
        if self._stop.done():
            return
        if ready_since is None:
            if reason is None and output:
                logger.warning("worker %s %s before it was ready%s", self.name, how, _shown(output))
                if how.startswith("exited"):
                    how += f": {output.splitlines()[-1]}"
            self._failed_to_start(reason or how, on_start)
        else:
            self._ended(reason or how, ready_since, output)

    def _failed_to_start(self, cause: str, on_start: Callable[[Supervisor], None]) -> None:
        self.cause = cause
        self.told = self._told
        self.failed_starts += 1
        self._short_lives += 1
        self.state = WorkerState.RESTARTING
        on_start(self)

    def _ended(self, cause: str, ready_since: float, output: str) -> None:
        self.cause = cause
        stable = self._loop.time() - ready_since >= self._settings.stable_s
        self._short_lives = 1 if stable else self._short_lives + 1
        logger.error("worker %s %s; it is restarted%s", self.name, cause, _shown(output))

    def _backoff_s(self) -> float:
        doublings = min(max(self._short_lives - 1, 0), 30)
        wait_s = self._settings.restart_backoff_s * 2.0**doublings
        return min(wait_s, self._settings.restart_backoff_limit_s)

    def _received(self, frame: Frame) -> None:
        kind = frame.header.get("kind")
        if kind == "results" and self._run is not None:
            self._answered(frame.header, self._run)
        elif kind == "ready" and self.state is WorkerState.STARTING:
            self.facts = frame.header["facts"]
            self.failed_starts = 0
            self.told = None
            self.state = WorkerState.IDLE
            self._start_s = self._loop.time() - self._starts_at
            self._ready.set_result(None)
            self._source.worker_free(self)
        elif kind == "failed" and self.state is WorkerState.STARTING:
            self._told = frame.header["told"]
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
        self._source.worker_answered(run.entries, results, run.sent)
        self._source.worker_free(self)

    def _hangs(self, limit_s: float) -> None:
        self._kill(f"hangs: no answer to its batch within {limit_s:g} s")

    def _kill(self, reason: str) -> None:
        if self._process is not None:
            self._process.kill()
        self._lost(reason)

    def _lost(self, reason: str | None) -> None:
        """The worker has ended, or shall: no more work for it, and its batch is handed back."""
        if self._gone.done():
            return
        if self.state.ready:
            self._starts_at = self._due_since = self._loop.time()
        self.state = WorkerState.RESTARTING
        self._gone.set_result(reason)
        run, self._run = self._run, None
        if run is not None:
            run.hang_timer.cancel()
        self._source.worker_lost(self, run.entries if run is not None else ())


def _shown(output: str) -> str:
    """Return what a worker printed, marked as its own, to follow a message."""
    lines = "".join(f"\n| {line}" for line in output.splitlines())
    return f"; it printed last:{lines}" if lines else ""
