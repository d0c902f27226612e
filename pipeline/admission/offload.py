"""The parsing queue: what may take more than a millisecond is parsed in threads, not on the loop.

    Lane.run ─> waiting, by service and by caller ─> one of a few threads ─> result
                   │
              Overloaded: the queue is full          DeadlineExceeded: taken out, never begun

Turns go round: first by service, then by caller. So a caller with many or costly bodies waits
behind itself, and others wait for one body of each of the other callers at most. One caller never
has all of the threads. Where the queue is full, the caller who fills it most is refused.

The threads are few, because they compete with the loop for the interpreter's lock. A thread cannot
be stopped: a request that is too late gets its error at once, and its bytes stay reserved until its
thread has ended.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

from protocol.errors import Overloaded

from .inflight import Reservation

THREADS = 2
MOST_WAITING = 256

_Parsed = TypeVar("_Parsed")


class ParsingQueue:
    """At most `max_jobs` wait, of `max_bytes` together; used on one event loop.

    A job that is larger than `max_bytes` may wait alone.
    """

    def __init__(
        self, max_bytes: int, *, max_jobs: int = MOST_WAITING, threads: int = THREADS
    ) -> None:
        self.max_bytes = max_bytes
        self.max_jobs = max_jobs
        self._threads = threads
        self._most_of_a_caller = max(1, threads - 1)
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="parse")
        # By service, then by caller, each in the order of turns.
        self._waiting: dict[str, dict[str, dict[_Job, None]]] = {}
        self._jobs: Counter[str] = Counter()  # waiting, by caller
        self._bytes: Counter[str] = Counter()
        self._running: Counter[str] = Counter()

    @property
    def jobs(self) -> int:
        """How many wait."""
        return self._jobs.total()

    @property
    def bytes(self) -> int:
        """How many bytes of bodies wait."""
        return self._bytes.total()

    @property
    def running(self) -> int:
        """How many threads are at work."""
        return self._running.total()

    def lane(
        self, caller: str, service: str, reservation: Reservation, timeout_s: float | None = None
    ) -> Lane:
        """Return the way into the queue for one request of `caller` to `service`."""
        return Lane(self, caller, service, reservation, timeout_s)

    async def run(self, job: _Job) -> Any:  # noqa: ANN401 - what the job's function returns
        """Return what the job does; see `Lane.run`."""
        self._add(job)
        self._begin_next()
        try:
            return await job.outcome
        except asyncio.CancelledError:
            self._remove(job)
            raise

    def _add(self, job: _Job) -> None:
        while self.jobs and (self.jobs >= self.max_jobs or self.bytes + job.size > self.max_bytes):
            self._drop(job)
        callers = self._waiting.setdefault(job.service, {})
        callers.setdefault(job.caller, {})[job] = None
        self._jobs[job.caller] += 1
        self._bytes[job.caller] += job.size

    def _drop(self, job: _Job) -> None:
        """Refuse the newest job of the caller who fills the queue most, or `job` itself.

        Raises:
            Overloaded: its own caller would be that one.
        """
        by_jobs = self.jobs >= self.max_jobs
        loads, own = (self._jobs, 1) if by_jobs else (self._bytes, job.size)
        caller = max(loads, key=loads.__getitem__)
        if loads[job.caller] + own >= loads[caller]:
            raise _full()
        newest = [list(callers[caller])[-1] for callers in self._lanes_of(caller)]
        dropped = max(newest, key=lambda each: each.number)
        self._remove(dropped)
        dropped.outcome.set_exception(_full())

    def _lanes_of(self, caller: str) -> list[dict[str, dict[_Job, None]]]:
        return [callers for callers in self._waiting.values() if caller in callers]

    def _remove(self, job: _Job) -> None:
        """Take `job` out, if it waits."""
        callers = self._waiting.get(job.service, {})
        lane = callers.get(job.caller, {})
        if job not in lane:
            return
        del lane[job]
        if not lane:
            del callers[job.caller]
        if not callers:
            del self._waiting[job.service]
        for counter, count in ((self._jobs, 1), (self._bytes, job.size)):
            counter[job.caller] -= count
            if not lane and not self._lanes_of(job.caller):
                del counter[job.caller]

    def _begin_next(self) -> None:
        while self.running < self._threads and (job := self._next()) is not None:
            self._remove(job)
            self._running[job.caller] += 1
            job.begin()
            self._executor.submit(self._work, job, asyncio.get_running_loop())

    def _next(self) -> _Job | None:
        """Return the job whose turn it is; its service and its caller go to the end."""
        for service, callers in self._waiting.items():
            for caller, lane in callers.items():
                if self._running[caller] < self._most_of_a_caller:
                    self._waiting[service] = self._waiting.pop(service)
                    callers[caller] = callers.pop(caller)
                    return next(iter(lane))
        return None

    def _work(self, job: _Job, loop: asyncio.AbstractEventLoop) -> None:
        result, error = job.work()
        with contextlib.suppress(RuntimeError):  # the loop is closed: the service has ended
            loop.call_soon_threadsafe(self._ended, job, result, error)

    def _ended(self, job: _Job, result: object, error: BaseException | None) -> None:
        self._running[job.caller] -= 1
        if not self._running[job.caller]:
            del self._running[job.caller]
        job.end(result, error)
        self._begin_next()


class Lane:
    """One request's way into the queue.

    Attributes:
        reservation: its bytes.
        timeout_s: the service's timeout, which runs from the last byte of the body.
        arrived: when that came, by `time.monotonic`; None as long as nothing was unpacked.
    """

    def __init__(
        self,
        queue: ParsingQueue,
        caller: str,
        service: str,
        reservation: Reservation,
        timeout_s: float | None,
    ) -> None:
        self.reservation = reservation
        self.timeout_s = timeout_s
        self.arrived: float | None = None
        self._queue = queue
        self._caller = caller
        self._service = service

    async def run(self, size: int, parse: Callable[[], _Parsed]) -> _Parsed:
        """Return what `parse` returns for `size` bytes, or raise what it raises, in a thread.

        A cancelled call ends at once. If `parse` waits for its turn then, it is never called; if it
        runs, the request's bytes stay reserved until it ends.

        Raises:
            Overloaded: the queue is full.
        """
        job = _Job(self._caller, self._service, size, parse, self.reservation)
        del parse  # a traceback that is kept would keep the body with it
        parsed: _Parsed = await self._queue.run(job)
        return parsed


class _Job:
    """One call of a function; it runs once, or never."""

    _made = 0

    def __init__(
        self,
        caller: str,
        service: str,
        size: int,
        parse: Callable[[], object],
        reservation: Reservation,
    ) -> None:
        _Job._made += 1
        self.number = _Job._made
        self.caller = caller
        self.service = service
        self.size = size
        self.outcome: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._parse: Callable[[], object] | None = parse
        self._reservation = reservation

    def begin(self) -> None:
        self._reservation.share()

    def work(self) -> tuple[object, BaseException | None]:
        """Call the function, in a thread; it refers to the body, so it is let go."""
        parse, self._parse = self._parse, None
        assert parse is not None  # noqa: S101 - called once
        try:
            return parse(), None
        except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
            del parse
            traceback.clear_frames(error.__traceback__)  # the body again
            return None, error

    def end(self, result: object, error: BaseException | None) -> None:
        self._reservation.release()
        if self.outcome.done():  # cancelled
            if error is not None:
                error.__traceback__ = None
        elif error is None:
            self.outcome.set_result(result)
        else:
            self.outcome.set_exception(error)


def _full() -> Overloaded:
    return Overloaded("too many requests wait to be parsed; try again")
