"""A worker's thread for images that are not heavy: one that takes too long is given up alone.

An image whose header promises less than its decoder does would keep the worker for seconds. Native
code cannot be interrupted, but it can be left behind: the thread ends with its image, and another
one goes on with the batch. Seconds of computing count, so that a busy machine costs no image.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np

from protocol.errors import UndecodableImage

_MOST_GIVEN_UP = 2  # threads left behind, until heavier means are taken
_STEP_S = 0.01


class DecodeThread:
    """Decodes and preprocesses batches in a thread."""

    def __init__(self, prepare: Callable[[bytes], np.ndarray]) -> None:
        """`prepare` decodes and preprocesses one image."""
        self._prepare = prepare
        self._runner: _Runner | None = None
        self._given_up: list[_Runner] = []

    @property
    def is_worn(self) -> bool:
        """Whether so many threads were left behind that no further one may be."""
        self._given_up = [runner for runner in self._given_up if runner.is_alive()]
        return len(self._given_up) >= _MOST_GIVEN_UP

    def prepared(self, images: Sequence[bytes], budget_s: float) -> list[np.ndarray | Exception]:
        """Return what the model is fed of each image, or what `prepare` raised over it.

        An image that takes more than `budget_s` seconds of computing is an UndecodableImage. Once
        the threads are worn, the images that follow are left out.
        """
        job = _Job(images, [UndecodableImage("not decoded")] * len(images), 0)
        while job.position < len(images) and not self.is_worn:
            runner = self._runner = self._runner or _Runner(self._prepare)
            runner.jobs.put(job)
            if runner.finished(job, budget_s):
                return job.results
            self._runner = None
            self._given_up.append(runner)
            position = job.position
            job = _Job(images, list(job.results), position + 1)
            job.results[position] = out_of_time(budget_s)
        return job.results[: job.position]


def out_of_time(seconds: float) -> UndecodableImage:
    """Return the error of an image that took too long."""
    return UndecodableImage(
        f"the image could not be decoded within {seconds:.2g} s; send it smaller, or save it "
        "again as an ordinary JPEG"
    )


class _Job:
    """A batch from `position` on; `current` is the image under way and when it began."""

    __slots__ = ("current", "images", "position", "results")

    def __init__(
        self, images: Sequence[bytes], results: list[np.ndarray | Exception], position: int
    ) -> None:
        self.images = images
        self.results = results
        self.position = position
        self.current: tuple[int, float] | None = None


class _Runner(threading.Thread):
    """The thread; it ends after an image over which it was given up."""

    def __init__(self, prepare: Callable[[bytes], np.ndarray]) -> None:
        super().__init__(name="decode", daemon=True)
        self.jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()  # None ends it
        self._done: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._prepare = prepare
        self._is_given_up = False
        self.start()

    def run(self) -> None:
        while (job := self.jobs.get()) is not None:
            for position in range(job.position, len(job.images)):
                job.current = (position, time.thread_time())
                try:
                    job.results[position] = self._prepare(job.images[position])
                except Exception as error:  # noqa: BLE001 - raised again by the classifier
                    job.results[position] = error
                if self._is_given_up:
                    return
            self._done.put(job)
            del job

    def finished(self, job: _Job, budget_s: float) -> bool:
        """Wait; False if `job.position` is now an image that has used up its budget."""
        wait_s = budget_s
        while True:
            try:
                self._done.get(timeout=wait_s)
            except queue.Empty:
                current = job.current
            else:
                return True
            used_s = 0.0
            if current is not None and self.ident is not None:
                now_s = time.clock_gettime(time.pthread_getcpuclockid(self.ident))
                used_s = now_s - current[1]
            if current is not None and used_s >= budget_s and job.current is current:
                self._is_given_up = True
                self.jobs.put(None)  # it may have ended the job just now
                job.position = current[0]
                return False
            wait_s = max(_STEP_S, budget_s - used_s)
