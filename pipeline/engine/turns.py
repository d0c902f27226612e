"""Whose turn it is: that of light images, which share batches, or that of a heavy one, alone.

While light images come, one worker of several takes no heavy one, so that a light image waits for
none. A worker that may take both gives half of its time to each, so that nothing starves.
"""

from __future__ import annotations

from collections.abc import Callable

from .decode_memory import MEMORY, DecodeMemory

# So long after the last light image, heavy ones may have all workers.
_LIGHT_S = 5.0


class Turns:
    """Which kind of images the next idle worker takes, and how many workers heavy ones have."""

    def __init__(self, memory: DecodeMemory = MEMORY) -> None:
        """Begin without workers; `memory` limits the heavy images of all services together."""
        self._memory = memory
        self._up: set[object] = set()
        self._heavy_s: dict[object, float] = {}  # what each worker runs of heavy work
        self._light_at = float("-inf")
        self._lead_s = 0.0  # how much more time heavy images have had, while light ones waited

    @property
    def heavy_running_s(self) -> float:
        """The estimated seconds of the heavy images that run."""
        return sum(self._heavy_s.values())

    @property
    def workers(self) -> int:
        """How many workers are up, at least one."""
        return max(1, len(self._up))

    def heavy_workers(self, now: float) -> int:
        """Return how many workers heavy images may have at `now`, at least one."""
        reserved = 1 if now - self._light_at < _LIGHT_S else 0
        return max(1, self.workers - reserved)

    def light_came(self, now: float) -> None:
        """A light image was admitted."""
        self._light_at = now

    def worker_free(self, worker: object) -> None:
        """The worker is up and has nothing to do."""
        self._up.add(worker)
        self._ended(worker)

    def worker_lost(self, worker: object) -> None:
        """The worker is up no more."""
        self._up.discard(worker)
        self._ended(worker)

    def may_start_heavy(self, now: float, then: Callable[[], None]) -> bool:
        """Whether one more heavy image may run; `then` is called when memory has room again."""
        if len(self._heavy_s) >= self.heavy_workers(now):
            return False
        return self._memory.has_room(then)

    def is_heavy_next(self) -> bool:
        """Whether a heavy image is next, of a worker that may take both kinds."""
        return self._lead_s < 0

    def heavy_begins(
        self, worker: object, run_s: float, megapixels: float, *, others: bool
    ) -> None:
        """The worker takes a heavy image; `others`: light ones wait."""
        self._heavy_s[worker] = run_s
        self._memory.take(worker, megapixels)
        self._lead_s = max(0.0, self._lead_s) + run_s if others else run_s

    def light_begins(self, run_s: float, *, others: bool) -> None:
        """A worker takes a batch of light images; `others`: heavy ones wait."""
        self._lead_s = self._lead_s - run_s if others else 0.0

    def _ended(self, worker: object) -> None:
        self._heavy_s.pop(worker, None)
        self._memory.give_back(worker)
