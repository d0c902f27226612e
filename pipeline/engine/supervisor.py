"""Keeps one worker running: start, ready, batches, death, back-off, start again.

    STARTING ──ready──> IDLE ──batch──> BUSY
        │                 │ <──results──  │
        └── failed, died, hangs, too late ┴──> RESTARTING ── back-off ──> STARTING

Whatever ends a worker, its unanswered batch is handed back at once, before anything else.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ..settings.engine import EngineSettings
from ..settings.machine import Machine
from .command import WorkerCommand
from .entries import Entry
from .frames import Frame, Header, batch_header
from .process import WorkerProcess
from .served_files import FilesChangedError
from .starts import Starts
from .status import WorkerState, WorkerStatus
from .time_limit import TimeLimit

logger = logging.getLogger(__name__)

_MOMENT_S = 0.1
# A batch hangs when it takes so many times its estimate longer than its callers would wait.
_HANG_FACTOR = 2.0


class WorkSource(Protocol):
    """What a supervisor reports to: the dispatcher."""

    def worker_free(self, worker: Supervisor) -> None:
        """The worker can take a batch."""

    def worker_answered(
        self, worker: Supervisor, batch: Sequence[Entry], results: Header, sent: float
    ) -> None:
        """The results frame of a batch; it has as many rows as the batch has entries.

        `sent` is when the worker got it, a time of the loop's clock.
        """

    def worker_restarts(self) -> None:
        """A worker that ended is started again."""

    def worker_lost(self, worker: Supervisor, batch: Sequence[Entry]) -> None:
        """The worker takes no more work; `batch` has no results yet, and may be empty."""


@dataclass(slots=True)
class _Run:
    """A batch under way, and the limit that kills its worker if it takes for ever."""

    number: int
    sent: float
    entries: Sequence[Entry]
    limit: TimeLimit


class Supervisor:
    """One worker's place: when its worker ends, another is started.

    Attributes:
        name: the worker's name in logs and status.
        facts: what the last worker that was ready reported about itself.
        cause: why the last worker ended, in one line; None while none has.
        starts: how its starts went, and when it is expected.
    """

    def __init__(
        self,
        name: str,
        index: int,
        command: WorkerCommand,
        settings: EngineSettings,
        source: WorkSource,
        unfit: Callable[[Mapping[str, Any]], str | None],
        on_readiness: Callable[[], None],
    ) -> None:
        """Prepare worker `index` of a service; `run` starts it.

        `unfit` gets the facts of a worker that is ready, and returns why it must not serve, or
        None. `on_readiness` is called after each change of `state.ready`.
        """
        self.name = name
        self._state = WorkerState.STARTING
        self._on_readiness = on_readiness
        self.facts: Mapping[str, Any] = {}
        self.cause: str | None = None
        self._index = index
        self._command = command
        self._settings = settings
        self._source = source
        self._unfit = unfit
        self._loop = asyncio.get_running_loop()
        self.starts = Starts(settings, self._loop.time)
        self._process: WorkerProcess | None = None
        self._run: _Run | None = None
        self._ready: asyncio.Future[None] = self._loop.create_future()
        self._gone: asyncio.Future[str | None] = self._loop.create_future()
        self._stop: asyncio.Future[None] = self._loop.create_future()
        self._public_cause: str | None = None  # of the present worker, if it failed to start
        self._restarts = 0
        self._batches = 0
        self._images = 0

    @property
    def state(self) -> WorkerState:
        """Where the present worker is in its life."""
        return self._state

    @state.setter
    def state(self, state: WorkerState) -> None:
        was, self._state = self._state, state
        if state.ready != was.ready:
            self._on_readiness()

    async def started(self) -> None:
        """Wait for the end of an attempt to start, or a moment if none is under way."""
        await asyncio.wait(
            (self._ready, self._gone), timeout=_MOMENT_S, return_when=asyncio.FIRST_COMPLETED
        )

    def status(self) -> WorkerStatus:
        """Return what this worker is doing, and has done over all restarts."""
        pid = self._process.pid if self._process is not None else None
        return WorkerStatus(
            self.name, pid, self.state, self._restarts, self._batches, self._images, self.cause
        )

    async def run(self, on_start: Callable[[Supervisor], None]) -> None:
        """Start the worker, and again when it ends, until `stop`.

        `on_start` is called after every attempt to start; `starts.failed` is 0 if it succeeded.
        """
        try:
            while not self._stop.done():
                try:
                    await self._live(on_start)
                except Exception as error:  # our own defect: the place must go on all the same
                    logger.exception("worker %s: its supervisor failed", self.name)
                    self._failed_to_start(f"cannot be supervised: {error}", on_start)
                await asyncio.wait((self._stop,), timeout=self.starts.plan())
                if not self._stop.done():
                    self._restarts += 1
                    self._source.worker_restarts()
        finally:
            self.state = WorkerState.STOPPED

    def stop(self, *, now: bool = False) -> None:
        """Start no worker any more; let the present one finish its batch and leave.

        A worker that is not up yet is killed, and any worker if `now`.
        """
        if not self._stop.done():
            self._stop.set_result(None)
        if self._process is not None:
            if self.state.ready and not now:
                self._process.hang_up()
            else:
                self._kill("was stopped")

    def send(
        self,
        entries: Sequence[Entry],
        run_s: float,
        budgets_s: Sequence[tuple[float, float, bool]] = (),
    ) -> None:
        """Give an idle worker its batch, which is likely to take `run_s` seconds.

        `budgets_s` are those of heavy images; see `batch_header`.
        """
        assert self._process is not None, self.state  # noqa: S101 - for mypy and for readers
        self.state = WorkerState.BUSY
        self._batches += 1
        self._images += len(entries)
        # Longer than any deadline in the batch: none lies further than timeout_s from admission.
        # And longer for work that takes its time, so that no worker is killed over legal images.
        limit_s = self._settings.timeout_s + self._settings.hang_grace_s
        limit_s += min(_HANG_FACTOR * run_s, _HANG_FACTOR * self._settings.timeout_s)
        limit = TimeLimit(limit_s, functools.partial(self._hangs, limit_s))
        self._run = _Run(self._batches, self._loop.time(), entries, limit)
        images = [entry.image for entry in entries]
        log_ids = [entry.request.log_id for entry in entries]
        header = batch_header(self._batches, images, log_ids, budgets_s)
        self._process.send(header, [image.data for image in images])

    async def _live(self, on_start: Callable[[Supervisor], None]) -> None:
        """Run one worker from its birth to its end."""
        self.state = WorkerState.STARTING
        self._ready = self._loop.create_future()
        self._gone = self._loop.create_future()
        self.starts.begin()
        self._public_cause = None
        limit_s = self._settings.start_timeout_s
        oom_kills = await asyncio.to_thread(Machine().oom_kills)
        if self._stop.done():
            return
        try:
            self._process = WorkerProcess(
                self.name, self._index, self._command, self._received, self._lost, oom_kills
            )
        except OSError as error:
            self._failed_to_start(f"cannot be started: {error}", on_start)
            return
        limit = TimeLimit(limit_s, lambda: self._kill(f"was not ready within {limit_s:g} s"))
        try:
            await asyncio.wait((self._ready, self._gone), return_when=asyncio.FIRST_COMPLETED)
            limit.cancel()
            ready_since = self._loop.time() if self._ready.done() else None
            if ready_since is not None:
                on_start(self)
            reason = await self._gone
        finally:
            limit.cancel()
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
        self.starts.fail(self._public_cause)
        self.state = WorkerState.RESTARTING
        on_start(self)

    def _ended(self, cause: str, ready_since: float, output: str) -> None:
        self.cause = cause
        self.starts.end(ready_since)
        logger.error("worker %s %s; it is restarted%s", self.name, cause, _shown(output))

    def _received(self, frame: Frame) -> None:
        kind = frame.header.get("kind")
        if kind == "results" and self._run is not None:
            self._answered(frame.header, self._run)
        elif kind == "ready" and self.state is WorkerState.STARTING:
            unfit = self._unfit(frame.header["facts"])
            if unfit is not None:
                self._public_cause = FilesChangedError.public_cause
                self._kill(unfit)
                return
            self.facts = frame.header["facts"]
            self.state = WorkerState.IDLE
            self.starts.succeed()
            self._ready.set_result(None)
            self._source.worker_free(self)
        elif kind == "failed" and self.state is WorkerState.STARTING:
            self._public_cause = frame.header["public_cause"]
            self._lost(str(frame.header["cause"]))
        else:
            self._kill(f"sent {kind!r} out of turn")

    def _answered(self, results: Header, run: _Run) -> None:
        if results["number"] != run.number or len(results["rows"]) != len(run.entries):
            self._kill("sent results of another batch")
            return
        run.limit.cancel()
        self._run = None
        self.state = WorkerState.IDLE
        self._source.worker_answered(self, run.entries, results, run.sent)
        self._source.worker_free(self)

    def _hangs(self, limit_s: float) -> None:
        self._kill(f"hangs: no results of its batch within {limit_s:.3g} s")

    def _kill(self, reason: str) -> None:
        if self._process is not None:
            self._process.kill()
        self._lost(reason)

    def _lost(self, reason: str | None) -> None:
        """Give the ended, or doomed, worker no more work, and hand its batch back."""
        if self._gone.done():
            return
        if self.state.ready:
            self.starts.interrupt()
        self.state = WorkerState.RESTARTING
        self._gone.set_result(reason)
        run, self._run = self._run, None
        if run is not None:
            run.limit.cancel()
        self._source.worker_lost(self, run.entries if run is not None else ())


def _shown(output: str) -> str:
    """Return what a worker printed, marked as its own, to follow a message."""
    lines = "".join(f"\n| {line}" for line in output.splitlines())
    return f"; it printed last:{lines}" if lines else ""
