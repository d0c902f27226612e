"""Gives waiting entries to idle workers, and results to the requests that wait for them."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Sequence

from protocol.errors import PredictionFailed, ServingError, error_from_wire
from protocol.reply import Category, ImageResult

from ..settings.engine import EngineSettings
from .batch_sizes import BatchSizes
from .entries import Entry
from .frames import Header, Row
from .report import BatchReport, OnBatch
from .status import Counters
from .supervisor import Supervisor
from .turns import Turns
from .waiting import WaitingEntries
from .work import Pace, stored_megapixels

logger = logging.getLogger(__name__)

# How fast the shortest run grows while longer ones are seen. It only decides the order.
_FORGET = 1.1
_FAILURES_A_SECOND = 10


class Dispatcher:
    """Forms batches of what waits, as soon as a worker is idle.

    Attributes:
        waiting: the queue.
        pace: how long images take.
        sizes: how many images make the best batch.
        turns: whether light or heavy images are next.
        draining: whether batches are formed at once, without waiting to fill.
    """

    def __init__(
        self, name: str, settings: EngineSettings, counters: Counters, on_batch: OnBatch
    ) -> None:
        """Serve the engine called `name`; counts settled images in `counters`."""
        self.waiting = WaitingEntries(settings.queue_size)
        self.pace = Pace(settings.timeout_s)
        self.sizes = BatchSizes(settings.batch_size)
        self.turns = Turns()
        self.draining = False
        self._name = name
        self._settings = settings
        self._counters = counters
        self._on_batch = on_batch
        self._quickest_s = 0.0
        self._failures = (0, 0)  # a second, and how many batches failed in it
        self._idle: list[Supervisor] = []
        self._soon: asyncio.Handle | None = None
        self._linger_timer: asyncio.TimerHandle | None = None

    def admit(self, entries: Sequence[Entry]) -> None:
        """Take in the entries of a new request."""
        if not all(entry.heavy for entry in entries):
            self.turns.light_came(asyncio.get_running_loop().time())
        self.waiting.extend(entries)
        self.dispatch_soon()

    def dispatch_soon(self) -> None:
        """Form batches when all that has just arrived is in the queue, not one by one."""
        if self._idle and self._soon is None:
            self._soon = asyncio.get_running_loop().call_soon(self._dispatch)

    def has_room(self, images: int) -> bool:
        """Whether so many more images may wait, once idle workers have taken their batches."""
        if not self.waiting.has_room(images) and self._soon is not None:
            self._soon.cancel()
            self._dispatch()
        return self.waiting.has_room(images)

    def close(self) -> None:
        """Form no batch any more."""
        self._idle.clear()
        for handle in (self._soon, self._linger_timer):
            if handle is not None:
                handle.cancel()

    def worker_free(self, worker: Supervisor) -> None:
        """Give the worker waiting entries, or remember that it is idle."""
        self.pace.measured(worker.facts)
        self.sizes.measured(worker.facts)
        self._idle.append(worker)
        self.turns.worker_free(worker)
        self._dispatch()

    def worker_restarts(self) -> None:
        """Count it."""
        self._counters.restarts += 1

    def worker_answered(
        self, worker: Supervisor, batch: Sequence[Entry], results: Header, sent: float
    ) -> None:
        """Hand every row to its own request."""
        if results["failed"]:
            self._log_failures(batch, results)
        for entry, row in zip(batch, results["rows"], strict=True):
            self.settle(entry, _result(row))
        now = asyncio.get_running_loop().time()
        run_s = now - sent
        if not any(isinstance(row, dict) for row in results["rows"]):
            # An image that failed took less than its work, or much more.
            work = sum(entry.megapixels for entry in batch)
            self.pace.learn(len(batch), work, results["stages_s"])
            if not batch[0].heavy:
                each_s = self.pace.usual_each_s(len(batch), work, run_s, results["stages_s"])
                self.sizes.ran(worker, len(batch), each_s, now)
        # The shortest of the last runs, forgotten slowly: a sooner deadline is hard to keep.
        self._quickest_s = min(run_s, self._quickest_s * _FORGET or run_s)
        waits_s = [sent - entry.request.since for entry in batch]
        contexts = [entry.request.context for entry in batch]
        self._on_batch(BatchReport(waits_s, contexts, run_s, results["stages_s"]))

    def _log_failures(self, batch: Sequence[Entry], results: Header) -> None:
        """Log the first exception of a batch; of more than some a second only that there are."""
        second = int(asyncio.get_running_loop().time())
        if second != self._failures[0]:
            self._failures = (second, 0)
        self._failures = (second, self._failures[1] + 1)
        if self._failures[1] > _FAILURES_A_SECOND:
            if self._failures[1] == _FAILURES_A_SECOND + 1:
                logger.error("service %s: more predictions fail in this second", self._name)
            return
        log_ids = ", ".join(str(batch[i].request.log_id) for i in results["failed"])
        logger.error(
            "service %s: prediction failed, log_id %s\n%s",
            self._name,
            log_ids,
            results["traceback"],
        )

    def worker_lost(self, worker: Supervisor, batch: Sequence[Entry]) -> None:
        """Put the unanswered entries back, each to be tried alone, or fail them."""
        if worker in self._idle:
            self._idle.remove(worker)
        self.turns.worker_lost(worker)
        self.sizes.worker_lost(worker)
        again = []
        for entry in batch:
            entry.attempts += 1
            entry.heavy = True
            if entry.request.done:
                continue
            if entry.attempts <= self._settings.retries:
                again.append(entry)
            else:
                self.settle(entry, PredictionFailed(_died_text(entry.attempts)))
        self._counters.retried += len(again)
        self.waiting.put_back(again)
        self.dispatch_soon()

    def _dispatch(self) -> None:
        self._soon = None
        now = asyncio.get_running_loop().time()
        while self._idle and len(self.waiting):
            # The estimate may be far too long, after a stopped worker or six huge images. Entries
            # that it puts last still run when a worker is free, and that run corrects it.
            late_until = now + self._quickest_s
            light, heavy = self.waiting.light, self.waiting.heavy
            light_waits = light.first is not None and not self._lingers(light.first, now)
            heavy_waits = len(heavy) > 0 and self.turns.may_start_heavy(now, self.dispatch_soon)
            if heavy_waits and (not light_waits or self.turns.is_heavy_next()):
                self._run_heavy(heavy.take(1, math.inf, late_until), now)
            elif light_waits:
                most = self.pace.light_batch_megapixels()
                self._run_light(light.take(self._share(now), most, late_until), now)
            else:
                return

    def _run_light(self, batch: list[Entry], now: float) -> None:
        batch = _wanted(batch, now)
        if batch:
            run_s = self.pace.run_s(len(batch), sum(entry.megapixels for entry in batch))
            self.turns.light_begins(run_s, others=len(self.waiting.heavy) > 0)
            self._idle.pop().send(batch, run_s)

    def _run_heavy(self, batch: list[Entry], now: float) -> None:
        for entry in _wanted(batch, now):
            worker = self._idle.pop()
            run_s = self.pace.run_s(1, entry.megapixels)
            others = len(self.waiting.light) > 0
            stored = stored_megapixels(entry.image.data)
            self.turns.heavy_begins(worker, run_s, stored, others=others)
            budget_s = self.pace.budget_s(entry.megapixels)
            left_s = entry.request.deadline - now
            worker.send([entry], run_s, [(budget_s, left_s, entry.attempts > 0)])

    def _share(self, now: float) -> int:
        """Return how many light images the next idle worker takes at most."""
        if self._settings.auto_batching_timeout_s is not None:
            return self._settings.batch_size  # the setting asks for full batches
        # Idle workers share the waiting entries, so that none stays idle while another works.
        share = -(-len(self.waiting.light) // len(self._idle))
        return self.sizes.size_for(self._idle[-1], share, now)

    def _lingers(self, oldest: Entry, now: float) -> bool:
        """Whether the oldest entry still waits for its batch to fill (`auto_batching_timeout`)."""
        wait_s = self._settings.auto_batching_timeout_s
        if wait_s is None or self.draining:
            return False
        request = oldest.request
        # At most half of the caller's time: the other half is for computing.
        due = request.since + min(wait_s, (request.deadline - request.since) / 2)
        if due <= now or len(self.waiting.light) >= self._settings.batch_size:
            return False
        if self._linger_timer is not None:
            self._linger_timer.cancel()
        self._linger_timer = asyncio.get_running_loop().call_at(due, self._dispatch)
        return True

    def settle(self, entry: Entry, result: ImageResult) -> None:
        """Hand a result to its request, unless that is done."""
        if entry.request.done:
            return
        if isinstance(result, ServingError):
            self._counters.failed += 1
        else:
            self._counters.answered += 1
        entry.request.settle(entry.position, result)


def _wanted(batch: Sequence[Entry], now: float) -> list[Entry]:
    """Return what is still to be computed; the timer of an expired request ends it."""
    return [e for e in batch if not e.request.done and e.request.deadline > now]


def _result(row: Row) -> ImageResult:
    if isinstance(row, dict):
        return error_from_wire(row["err_no"], row["message"])
    return tuple(Category(class_id, label, score) for class_id, label, score in row)


def _died_text(attempts: int) -> str:
    if attempts == 1:
        return "the worker died over this image; the service's log has the details"
    return f"workers died {attempts} times over this image; the service's log has the details"
