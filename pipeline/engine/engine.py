"""The engine of one service: images in, results out, whatever happens to the workers.

    classify ── admission ──> waiting ──> batch ──> worker process ──> each result to its caller
                   │             │                       │
              Overloaded     expired, abandoned      died: once more, alone; then PredictionFailed
              NotReady       drop out at once

Everything here runs on one event loop, so that nothing changes between two awaits; a request
awaits nothing but its own outcome.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from protocol.errors import (
    InvalidRequest,
    NotReady,
    Overloaded,
    ServiceClosed,
    ServingError,
)
from protocol.reply import ImageResult
from protocol.request import EncodedImage

from ..changes import Changes, Listener, Unsubscribe
from ..settings.engine import EngineSettings
from ..settings.machine import Machine
from .command import WorkerCommand
from .crew import Crew, NoRoomError
from .decode_memory import MEMORY
from .dispatcher import Dispatcher
from .entries import Entry, Request
from .limits import WorkLimits
from .open_requests import OpenRequests
from .report import OnBatch, ignore
from .status import Counters, EngineStatus
from .supervisor import Supervisor

logger = logging.getLogger(__name__)


class EngineStartError(Exception):
    """No worker could start; the text is the worker's own cause, in one line."""


class Engine:
    """Classifies images in worker processes; one engine a service.

    Life: made -> `start` -> `classify` ... -> `drain` -> `close`. All on one event loop.
    """

    def __init__(
        self,
        name: str,
        command: WorkerCommand,
        settings: EngineSettings,
        *,
        counters: Counters | None = None,
        on_batch: OnBatch = ignore,
        machine: Machine | None = None,
    ) -> None:
        """Prepare the engine of service `name`; nothing is started yet.

        `counters` are those of an engine that this one follows; `on_batch` gets each report;
        `machine` is what the workers run on.
        """
        self.name = name
        self._command = command
        self._settings = settings
        self._counters = Counters() if counters is None else counters
        self._dispatcher = Dispatcher(name, settings, self._counters, on_batch)
        self._limits = WorkLimits(name, settings, self._dispatcher)
        self._machine = machine or Machine()
        self._changes = Changes()
        self._was_ready = False
        self._crew = Crew(name, settings, self._dispatcher, self._machine, self._note_readiness)
        self._workers, self._tasks = self._crew.workers, self._crew.tasks
        self._open = OpenRequests(self._counters, self._dispatcher.waiting)
        self._started: asyncio.Future[None] | None = None
        self._wants_all = False
        self._draining = False
        self._closing: asyncio.Task[None] | None = None

    # --- life ------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a worker is up and new work is taken."""
        return not self._stopping and any(worker.state.ready for worker in self._workers)

    def on_change(self, listener: Listener) -> Unsubscribe:
        """Have `listener` called on the event loop after each change of `ready`, see `Changes`."""
        return self._changes.subscribe(listener)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a worker reported about model and backend when it was ready; empty before."""
        return next((worker.facts for worker in self._workers if worker.facts), {})

    @property
    def digests(self) -> Mapping[str, str]:
        """The SHA-256 of each file that the workers load, by its path; empty before the start."""
        files = self._command.files
        return {} if files is None else {path: mark.sha256 for path, mark in files.marks.items()}

    @property
    def timeout_s(self) -> float:
        """The seconds within which a request is answered."""
        return self._settings.timeout_s

    @property
    def longest_s(self) -> float:
        """No request that was admitted is open for longer than this, whatever its workers do."""
        return self._settings.timeout_s + self._settings.hang_grace_s

    def status(self) -> EngineStatus:
        """Return queue, workers and counters as they are now."""
        return EngineStatus(
            name=self.name,
            ready=self.ready,
            waiting=len(self._dispatcher.waiting),
            queue_size=self._dispatcher.waiting.size,
            open_requests=len(self._open),
            workers=tuple(worker.status() for worker in self._workers),
            counters=dataclasses.replace(self._counters),
            best_batch=self._dispatcher.sizes.best,
            images_per_s=self._dispatcher.sizes.images_per_s,
        )

    async def start(self, *, all_workers: bool = False) -> None:
        """Start the workers; return when the first is ready, while the others go on starting.

        With `all_workers` return when all are ready: a service that takes over from another one
        must not be smaller than that.

        Raises:
            EngineStartError: every worker's first start failed, or with `all_workers` one's. The
                engine is closed then.
        """
        self._wants_all = all_workers
        self._started = asyncio.get_running_loop().create_future()
        try:
            await self._start_workers()
            await self._started
        except BaseException:
            await self.close()
            raise

    @property
    def size(self) -> int:
        """How many workers it has: those of the settings, or fewer where memory is short."""
        return self._crew.size

    async def _start_workers(self) -> None:
        # Before the first start, so that all workers load the same files, now and later.
        self._command = await asyncio.to_thread(self._command.marked)
        MEMORY.limit_by(await asyncio.to_thread(self._machine.free_bytes))
        if self._closing is not None:
            return
        try:
            await self._crew.start(self._command, self._worker_started, all_workers=self._wants_all)
        except NoRoomError as error:
            raise EngineStartError(str(error)) from error
        self._check_started()

    async def drain(self, timeout_s: float) -> bool:
        """Take no new work; return whether the open requests ended within `timeout_s`."""
        self._draining = True
        self._note_readiness()
        self._dispatcher.draining = True
        self._dispatcher.dispatch_soon()
        return await self._open.ended(timeout_s)

    async def close(self) -> None:
        """Stop the workers and fail open requests with ServiceClosed; may be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
            self._note_readiness()
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        self._crew.close()
        self._open.fail_all(
            ServiceClosed,
            f"service {self.name} was stopped or replaced before it answered; send it again",
        )
        self._dispatcher.close()
        if self._started is not None and not self._started.done():
            self._fail_start("stopped while starting")
        if not self._tasks:
            return
        for worker in self._workers:
            worker.stop()
        await asyncio.wait(self._tasks, timeout=self._settings.stop_grace_s)
        for worker in self._workers:
            worker.stop(now=True)
        await asyncio.wait(self._tasks)
        await self._crew.ended()

    @property
    def _stopping(self) -> bool:
        return self._draining or self._closing is not None

    def _note_readiness(self) -> None:
        if self.ready != self._was_ready:
            self._was_ready = not self._was_ready
            self._changes.notify()

    def _worker_started(self, worker: Supervisor) -> None:
        """Note a start, good or bad: end `start`, or fail requests that no worker will answer."""
        if worker.starts.failed == 0:
            self._check_started()
            return
        if self._started is not None and not self._started.done():
            if self._wants_all or all(other.starts.failed for other in self._workers):
                self._fail_start(str(worker.cause))
                return
        elif all(other.starts.unlikely for other in self._workers):
            self._open.fail_all(NotReady, self._not_ready_text())
        logger.error("worker %s failed to start: %s", worker.name, worker.cause)

    def _fail_start(self, cause: str) -> None:
        assert self._started is not None, cause  # noqa: S101 - for mypy
        self._started.set_exception(EngineStartError(f"{self.name}: {cause}"))
        # `start` may have been cancelled before it waits for this; asyncio would log an exception
        # that no task has retrieved.
        self._started.exception()

    def _check_started(self) -> None:
        """End `start` if enough workers are ready."""
        self._crew.note_start()
        ready = [worker.state.ready for worker in self._workers]
        enough = self._crew.complete and all(ready) if self._wants_all else any(ready)
        if enough and self._started is not None and not self._started.done():
            self._started.set_result(None)

    def _not_ready_text(self) -> str:
        if self._started is None or not self._started.done():
            return f"service {self.name} is starting; try again later"
        return self._crew.why_none_is_up()

    # --- requests --------------------------------------------------------------------------------

    async def classify(
        self,
        images: Sequence[EncodedImage],
        *,
        timeout_s: float | None = None,
        log_id: int = 0,
        works: Sequence[float] | None = None,
    ) -> list[ImageResult]:
        """Classify encoded images; return one result or error per image, in order.

        `works` are the images' estimated megapixels (`stages.work`), if they are known already.
        Waits at most `timeout_s` seconds or the service's own timeout, whichever is shorter.
        Cancelling the caller abandons the images; those that still wait are never computed.

        Raises:
            Overloaded: the queue has no room or no time for all of them; nothing was computed.
            InvalidRequest: more images than the queue can ever hold.
            TooLarge: they take longer than the service's timeout, even on idle workers.
            NotReady: no worker is up, nor likely to be within that time.
            ServiceClosed: the service is stopping.
            DeadlineExceeded: not all results were there in time, or can be.
        """
        if not images:
            return []
        limit_s = self._settings.timeout_s
        if timeout_s is not None and timeout_s < limit_s:
            limit_s = timeout_s
        self._check_admission(len(images), limit_s)
        request = Request(len(images), limit_s, log_id)
        entries = self._possible(request, images, works, limit_s)
        self._open.add(request)
        self._dispatcher.admit(entries)
        loop = asyncio.get_running_loop()
        timer = loop.call_at(request.deadline, self._open.expire, request, limit_s)
        try:
            return await request.outcome()
        finally:
            timer.cancel()
            self._open.dismiss(request, entries)

    def _check_admission(self, images: int, limit_s: float) -> None:
        error: ServingError | None = None
        waiting = self._dispatcher.waiting
        if self._stopping:
            error = ServiceClosed("the service is stopping; send the request to another replica")
        elif images > waiting.size:
            error = InvalidRequest(
                f"{images} images in one request; the queue of service {self.name} holds at "
                f"most {waiting.size}; send fewer at a time"
            )
        elif not self._up_within(limit_s):
            error = NotReady(self._not_ready_text())
        elif not self._dispatcher.has_room(images):
            error = Overloaded(
                f"the queue of service {self.name} is full ({len(waiting)} of {waiting.size} "
                "images wait); try again later"
            )
        self._refuse(error, images)

    def _possible(
        self,
        request: Request,
        images: Sequence[EncodedImage],
        works: Sequence[float] | None,
        limit_s: float,
    ) -> list[Entry]:
        """Return the entries of `request` that can be done in time; the others have their error."""
        possible, hopeless = self._limits.entries(request, images, works, limit_s)
        now = asyncio.get_running_loop().time()
        self._refuse(self._limits.refusal(possible, limit_s, now), len(images))
        self._counters.admitted += len(images)
        for entry, error in hopeless:
            self._dispatcher.settle(entry, error)
        return possible

    def _refuse(self, error: ServingError | None, images: int) -> None:
        if error is not None:
            self._counters.rejected += images
            raise error

    def _up_within(self, limit_s: float) -> bool:
        """Whether a worker is up, or is expected to be within `limit_s` seconds."""
        if self._started is None or not self._started.done():
            return False
        return self._crew.is_up_by(asyncio.get_running_loop().time() + limit_s)
