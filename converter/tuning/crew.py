"""A candidate as it is served: real worker processes, which get batches without end.

The workers are those of the engine, with its command line and environment, so a candidate decodes,
preprocesses, predicts and chooses categories as the service will. Only HTTP and RPC are left out.
"""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pipeline.classifier import ClassifierSettings
from pipeline.engine.command import WorkerCommand
from pipeline.engine.family import family_bytes
from pipeline.engine.folders import real_import_path, real_working_folder
from pipeline.engine.frames import Frame, Header, batch_header
from pipeline.engine.process import WorkerProcess
from pipeline.predictors import PredictorOptions
from pipeline.settings.machine import Machine
from protocol.errors import WIRE_CODES, InvalidRequest
from protocol.request import EncodedImage

from .candidate import Candidate

T = TypeVar("T")

_EVERYTHING = float("-inf")  # a threshold that logits pass too
_ALL_CLASSES = 1_000_000
# Of errors of one image, which say nothing against a candidate.
_OF_IMAGES = frozenset(
    codes.err_no for kind, codes in WIRE_CODES.items() if issubclass(kind, InvalidRequest)
)


class CandidateError(Exception):
    """A candidate cannot be measured; `str(error)` is one line that says why."""


@dataclass(frozen=True, slots=True)
class Limits:
    """After how many seconds without a reply a worker counts as one that hangs."""

    start_s: float = 120.0
    batch_s: float = 60.0


class Crew:
    """The workers of one candidate; use it as `async with`, so that they end with the block.

    Attributes:
        start_s: until the first worker was ready.
        runtime: its name, version and device, once it is ready.
    """

    def __init__(self, candidate: Candidate, model_dir: Path, limits: Limits) -> None:
        """Prepare the command of the workers; nothing is started yet."""
        settings = settings_of(candidate, model_dir)
        command = WorkerCommand.for_classifier(settings)
        # The files are not marked: reading each before each start takes the time of measuring.
        self._command = replace(
            command, working=real_working_folder(), import_path=real_import_path()
        )
        self._candidate = candidate
        self._limits = limits
        self._workers: list[_Worker] = []
        self.start_s: float | None = None
        self.runtime = ""

    async def __aenter__(self) -> Crew:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self, *, alone_first: bool) -> None:
        """Start the workers; with `alone_first`, the others when the first is ready.

        Raises:
            CandidateError: one does not become ready.
        """
        count = self._candidate.workers
        began = time.perf_counter()
        if alone_first:
            await self._start(range(1))
            self.start_s = time.perf_counter() - began
        await self._start(range(len(self._workers), count))

    async def _start(self, indexes: range) -> None:
        try:
            new = [_Worker(index, self._command) for index in indexes]
        except OSError as error:
            raise CandidateError(f"the workers cannot be started: {error}") from error
        self._workers += new
        facts = await _all(worker.ready(self._limits.start_s) for worker in new)
        self.runtime = str(facts[0]["backend"]) if facts else self.runtime

    async def rate(self, images: Sequence[bytes], batch: int, seconds: float) -> float:
        """Return images a second of all workers together, in batches of `batch`.

        Each runs at least one batch, and begins no further one after `seconds`.

        Raises:
            CandidateError: a worker died, hangs, or cannot predict.
        """

        async def run(index: int, worker: _Worker) -> float:
            endless = itertools.cycle(images)
            for _ in range(index * len(images) // len(self._workers)):
                next(endless)
            began, done = time.perf_counter(), 0
            while not done or time.perf_counter() - began < seconds:
                await worker.results([next(endless) for _ in range(batch)], self._limits.batch_s)
                done += batch
            return done / (time.perf_counter() - began)

        return sum(await _all(run(*pair) for pair in enumerate(self._workers)))

    async def alone_ms(self, images: Sequence[bytes], seconds: float) -> float:
        """Return the median time of one image in one worker, while the others are idle.

        Raises:
            CandidateError: as `rate`.
        """
        times: list[float] = []
        endless = itertools.cycle(images)
        while not times or sum(times) < seconds:
            began = time.perf_counter()
            await self._workers[0].results([next(endless)], self._limits.batch_s)
            times.append(time.perf_counter() - began)
        return 1000 * statistics.median(times)

    async def scores(self, images: Sequence[bytes], batch: int) -> list[np.ndarray | str]:
        """Return float32 [classes] of each image, in order, or why it has none.

        Raises:
            CandidateError: as `rate`.
        """
        at = range(0, len(images), batch)
        parts = iter([images[begin : begin + batch] for begin in at])
        numbered = enumerate(parts)
        found: dict[int, list[np.ndarray | str]] = {}

        async def run(worker: _Worker) -> None:
            for number, part in numbered:
                rows = await worker.results(part, self._limits.batch_s, classes=_ALL_CLASSES)
                found[number] = [row if isinstance(row, str) else _by_class(row) for row in rows]

        await _all(run(worker) for worker in self._workers)
        return [row for number in sorted(found) for row in found[number]]

    def memory_mib(self) -> float:
        """Return what all workers take; pages of files, which they share, count once."""
        return family_bytes([worker.pid for worker in self._workers]) / 2**20

    async def close(self) -> None:
        """End all workers, whatever they do."""
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.kill()
        for worker in workers:
            await worker.end()


def settings_of(candidate: Candidate, model_dir: Path) -> ClassifierSettings:
    """Return the settings of a worker that serves `candidate`."""
    return ClassifierSettings(
        model_dir=str(model_dir.resolve()),
        backend=candidate.backend,
        predictor=PredictorOptions(
            threads=candidate.threads, precision=candidate.precision, form=candidate.form
        ),
        batch_size=candidate.batch_size,
        fast_decode=candidate.fast_decode,
    )


class _Worker:
    """One worker process, and the one reply that is awaited of it."""

    def __init__(self, index: int, command: WorkerCommand) -> None:
        self._reply: asyncio.Future[Header] = asyncio.get_running_loop().create_future()
        self._number = 0
        self._process = WorkerProcess(
            f"candidate {index}",
            index,
            command,
            self._on_frame,
            self._on_gone,
            Machine().oom_kills(),
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    async def ready(self, limit_s: float) -> Header:
        """Wait until the model is loaded and warm; return the facts that the worker reports."""
        header = await self._awaited(limit_s, "start")
        if header["kind"] != "ready":
            raise CandidateError(str(header["cause"]))
        facts: Header = header["facts"]
        return facts

    async def results(
        self, images: Sequence[bytes], limit_s: float, classes: int = 0
    ) -> Sequence[Sequence[tuple[int, str, float]] | str]:
        """Return the rows of one batch; of an image that cannot be decoded, its error."""
        encoded = [
            EncodedImage(data, classes or None, _EVERYTHING if classes else None) for data in images
        ]
        self._number += 1
        header = batch_header(self._number, encoded, [0] * len(images))
        if not self._reply.done() or self._reply.exception() is None:
            self._reply = asyncio.get_running_loop().create_future()
            self._process.send(header, images)
        header = await self._awaited(limit_s, "answer a batch")
        if header["failed"]:
            raise CandidateError(_last_line(header["traceback"]))
        return [_of_image(row) if isinstance(row, dict) else row for row in header["rows"]]

    def kill(self) -> None:
        self._process.kill()

    async def end(self) -> str:
        """Wait for the end of the process; return its cause."""
        if self._reply.done() and not self._reply.cancelled():
            self._reply.exception()  # seen, so that the loop does not report it
        return await self._process.reap()

    async def _awaited(self, limit_s: float, what: str) -> Header:
        try:
            return await asyncio.wait_for(asyncio.shield(self._reply), limit_s)
        except asyncio.TimeoutError:
            raise CandidateError(f"hangs: it did not {what} within {limit_s:g} s") from None
        except _GoneError as gone:
            cause = str(gone) or await self.end()
            last = self._process.last_output.splitlines()[-1:]
            raise CandidateError(": ".join(["a worker " + cause, *last])) from None

    def _on_frame(self, frame: Frame) -> None:
        if not self._reply.done():
            self._reply.set_result(frame.header)

    def _on_gone(self, reason: str | None) -> None:
        if self._reply.done():
            self._reply = asyncio.get_running_loop().create_future()
        self._reply.set_exception(_GoneError(reason or ""))


class _GoneError(Exception):
    """The process has ended."""


async def _all(coroutines: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run all at once; the first error ends the others, and is raised when they have ended."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _of_image(row: Header) -> str:
    if row["err_no"] in _OF_IMAGES:
        return str(row["message"])
    raise CandidateError(str(row["message"]))


def _by_class(row: Sequence[tuple[int, str, float]]) -> np.ndarray:
    scores = np.full(len(row), np.nan, np.float32)
    for class_id, _, score in row:
        scores[class_id] = score
    return scores


def _last_line(trace: str) -> str:
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    return lines[-1][:300] if lines else "the prediction failed"
