"""The engine of one service: pictures in, results out, whatever happens to the workers.

    classify ── admission ──> waiting ──> batch ──> worker process ──> each result to its waiter
                   │             │                       │
              Overloaded     expired, abandoned      died: once more, alone; then PredictionFailed
              NotReady       drop out at once

Everything here runs on one event loop, so that between two awaits nothing changes under our feet;
the only await of a request is for its own outcome.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from protocol.envelope import Category, ImageResult
from protocol.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    PredictionFailed,
    ServiceClosed,
    ServingError,
    error_from_wire,
)

from .command import WorkerCommand
from .entries import Entry, Request, WaitingEntries
from .frames import Header
from .settings import EngineSettings
from .status import Counters, EngineStatus
from .supervisor import Supervisor

if TYPE_CHECKING:
    from ..config import OpSettings

logger = logging.getLogger(__name__)

# So many failed starts in a row, of every worker, and callers are told instead of kept waiting.
REPEATED_FAILURES = 3


class EngineStartError(Exception):
    """No worker could start; the text is the worker's own cause, in one line."""


class Engine:
    """Classifies pictures in worker processes; one engine a service.

    Life: made -> `start` -> `classify` ... -> `drain` -> `close`. All on one event loop.
    """

    def __init__(self, name: str, command: WorkerCommand, settings: EngineSettings) -> None:
        """Prepare the engine of service `name`; nothing is started yet."""
        self.name = name
        self._command = command
        self._settings = settings
        self._waiting = WaitingEntries(settings.queue_size)
        self._workers: list[Supervisor] = []
        self._idle: list[Supervisor] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._counters = Counters()
        self._open: set[Request] = set()
        self._started: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._closing: asyncio.Task[None] | None = None
        self._dispatch_handle: asyncio.Handle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    @classmethod
    def from_op(cls, op: OpSettings) -> Engine:
        """Make the engine of one configured service."""
        return cls(op.name, WorkerCommand.for_classifier(op.classifier, op.devices), op.engine)

    # --- life --------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether a worker is up and new work is taken."""
        return not self._stopping and any(worker.state.ready for worker in self._workers)

    @property
    def facts(self) -> Mapping[str, Any]:
        """What a worker told about model and backend when it was ready; empty before."""
        return next((worker.facts for worker in self._workers if worker.facts), {})

    def status(self) -> EngineStatus:
        """Return queue, workers and counters as they are now."""
        return EngineStatus(
            name=self.name,
            ready=self.ready,
            waiting=len(self._waiting),
            open_requests=len(self._open),
            workers=tuple(worker.status() for worker in self._workers),
            counters=Counters(**{f: getattr(self._counters, f) for f in Counters.__slots__}),
        )

    async def start(self) -> None:
        """Start the workers; return when the first is ready, while the others go on starting.

        Raises:
            EngineStartError: every worker's first start failed. The engine is closed then.
        """
        loop = asyncio.get_running_loop()
        self._started = loop.create_future()
        for index in range(self._settings.workers):
            name = f"{self.name}-{index}"
            worker = Supervisor(name, index, self._command, self._settings, self)
            self._workers.append(worker)
            self._tasks.append(loop.create_task(worker.run(), name=f"worker {name}"))
        try:
            await self._started
        except BaseException:
            await self.close()
            raise

    async def drain(self, timeout_s: float) -> bool:
        """Take no new work and finish what is there; False when some is left after `timeout_s`."""
        if self._drained is None:
            self._drained = asyncio.get_running_loop().create_future()
        self._dispatch_soon()  # nothing waits for company any more
        if self._open:
            await asyncio.wait((self._drained,), timeout=timeout_s)
        return not self._open

    async def close(self) -> None:
        """Stop the workers and answer what is left with ServiceClosed; may be called again."""
        if self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close())
        await asyncio.shield(self._closing)

    async def _close(self) -> None:
        for request in list(self._open):
            self._end(request, ServiceClosed, "the service has stopped")
        self._waiting.take_all()
        for handle in (self._dispatch_handle, self._linger_timer):
            if handle is not None:
                handle.cancel()
        for worker in self._workers:
            worker.stop()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._settings.stop_grace_s)
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def _stopping(self) -> bool:
        return self._drained is not None or self._closing is not None

    # --- requests ----------------------------------------------------------------------------

    async def classify(
        self,
        images: Sequence[bytes],
        *,
        topk: int | None = None,
        threshold: float | None = None,
        timeout_s: float | None = None,
        log_id: int = 0,
    ) -> list[ImageResult]:
        """Classify encoded pictures; return one result or error a picture, in order.

        Waits at most `timeout_s` seconds or the service's own timeout, whichever is shorter.
        Cancelling the caller abandons the pictures; those that still wait are never computed.

        Raises:
            Overloaded: the queue has no room for all of them; nothing was computed.
            InvalidRequest: more pictures than the queue can ever hold.
            NotReady: no worker is up, nor likely to be soon.
            ServiceClosed: the service is stopping.
            DeadlineExceeded: not all results were there in time.
        """
        if not images:
            return []
        self._check_admission(len(images))
        loop = asyncio.get_running_loop()
        now = loop.time()
        limit_s = self._settings.timeout_s
        if timeout_s is not None and timeout_s < limit_s:
            limit_s = timeout_s
        request = Request(loop.create_future(), len(images), now + limit_s, log_id)
        entries = [
            Entry(request, position, image, topk, threshold, now)
            for position, image in enumerate(images)
        ]
        self._counters.admitted += len(entries)
        self._open.add(request)
        self._waiting.extend(entries)
        timer = loop.call_later(limit_s, self._expire, request, limit_s)
        self._dispatch_soon()
        try:
            return await request.outcome()
        except asyncio.CancelledError:
            self._counters.abandoned += request.unsettled
            raise
        finally:
            timer.cancel()
            self._waiting.discard(entries)
            self._open.discard(request)
            if not self._open and self._drained is not None and not self._drained.done():
                self._drained.set_result(None)

    def _check_admission(self, images: int) -> None:
        error: ServingError | None = None
        if self._stopping:
            error = ServiceClosed("the service is stopping; send the request to another replica")
        elif images > self._waiting.size:
            raise InvalidRequest(
                f"{images} pictures in one request; the queue of service {self.name} holds at "
                f"most {self._waiting.size}; send fewer at a time"
            )
        elif not self._hopeful:
            error = NotReady(self._not_ready_text())
        elif not self._waiting.has_room(images):
            error = Overloaded(
                f"the queue of service {self.name} is full ({len(self._waiting)} of "
                f"{self._waiting.size} pictures wait); try again later"
            )
        if error is not None:
            self._counters.rejected += images
            raise error

    @property
    def _hopeful(self) -> bool:
        """Whether a worker is up, or may well be soon."""
        return (
            self._started is not None
            and self._started.done()
            and any(
                worker.state.ready or worker.failed_starts < REPEATED_FAILURES
                for worker in self._workers
            )
        )

    def _not_ready_text(self) -> str:
        causes = [worker.cause for worker in self._workers if worker.cause]
        if self._started is None or not self._started.done() or not causes:
            return f"service {self.name} is starting; try again later"
        return f"no worker of service {self.name} can start; the service's log has the cause"

    def _expire(self, request: Request, limit_s: float) -> None:
        if not request.done:
            self._counters.expired += request.unsettled
            request.fail(DeadlineExceeded, f"no answer within {limit_s:g} s")

    def _end(self, request: Request, kind: type[ServingError], text: str) -> None:
        if not request.done:
            self._counters.failed += request.unsettled
            request.fail(kind, text)

    def _settle(self, entry: Entry, result: ImageResult) -> None:
        """Hand a result to its waiter, unless that one has gone."""
        if entry.request.done:
            return
        if isinstance(result, ServingError):
            self._counters.failed += 1
        else:
            self._counters.answered += 1
        entry.request.settle(entry.position, result)

    # --- batches -----------------------------------------------------------------------------

    def _dispatch_soon(self) -> None:
        """Form batches after all that has just arrived is in the queue, not one by one."""
        if self._idle and self._dispatch_handle is None:
            self._dispatch_handle = asyncio.get_running_loop().call_soon(self._dispatch)

    def _dispatch(self) -> None:
        """Give what waits to the workers that are idle."""
        self._dispatch_handle = None
        while self._idle and (oldest := self._waiting.oldest) is not None:
            if self._lingers(oldest):
                return
            # Several idle workers share what waits, rather than one working while others look on.
            share = -(-len(self._waiting) // len(self._idle))
            batch = self._waiting.take(min(share, self._settings.batch_size))
            now = asyncio.get_running_loop().time()
            # A timer may be late on a busy loop; what nobody waits for is never computed.
            batch = [e for e in batch if not e.request.done and e.request.deadline > now]
            if batch:
                self._idle.pop().send(batch)

    def _lingers(self, oldest: Entry) -> bool:
        """Whether the oldest entry still waits for company, as `auto_batching_timeout` asks."""
        wait_s = self._settings.auto_batching_timeout_s
        if wait_s is None or self._drained is not None or oldest.alone:
            return False
        if len(self._waiting) >= self._settings.batch_size:
            return False
        loop = asyncio.get_running_loop()
        due = oldest.since + wait_s
        if due <= loop.time():
            return False
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._linger_timer = loop.call_at(due, self._dispatch)
        return True

    def worker_free(self, worker: Supervisor) -> None:
        """Give the worker what waits; the first worker that is ready ends `start`."""
        if self._started is not None and not self._started.done():
            self._started.set_result(None)
        self._idle.append(worker)
        self._dispatch()

    def worker_answered(self, batch: Sequence[Entry], results: Header) -> None:
        """Hand every row to its own waiter."""
        for text in results["tracebacks"]:
            log_ids = ", ".join(str(entry.request.log_id) for entry in batch)
            logger.error("service %s: prediction failed, log_id %s\n%s", self.name, log_ids, text)
        for entry, row in zip(batch, results["rows"], strict=True):
            self._settle(entry, _result(row))

    def worker_lost(self, batch: Sequence[Entry]) -> None:
        """Put the unanswered entries back, each to be tried alone, or answer them."""
        self._idle = [worker for worker in self._idle if worker.state.ready]
        again = []
        for entry in batch:
            if entry.request.done:
                continue
            entry.attempts += 1
            entry.alone = True
            if entry.attempts <= self._settings.retries:
                again.append(entry)
            else:
                self._settle(
                    entry,
                    PredictionFailed(
                        f"its worker died {entry.attempts} times over this picture; "
                        "the service's log has the details"
                    ),
                )
        self._counters.retried += len(again)
        self._waiting.put_back(again)
        self._dispatch_soon()

    def worker_failed_to_start(self, worker: Supervisor) -> None:
        """End `start` when no worker is left to hope for; later, answer what waits in vain."""
        if self._started is not None and not self._started.done():
            if all(other.failed_starts for other in self._workers):
                self._started.set_exception(EngineStartError(f"{self.name}: {worker.cause}"))
        elif not self._hopeful:
            for entry in self._waiting.take_all():
                self._end(entry.request, NotReady, self._not_ready_text())


def _result(row: Any) -> ImageResult:
    if isinstance(row, dict):
        return error_from_wire(row["err_no"], row["message"])
    return tuple(Category(class_id, label, score) for class_id, label, score in row)
