"""How the starts of one worker went: when the next one is due, and when the worker may be ready."""

from __future__ import annotations

import math
from collections.abc import Callable

from ..settings.engine import EngineSettings

# After so many failed starts in a row the worker is not expected until one succeeds.
REPEATED_FAILURES = 3
# A restart that takes longer than twice the last start and so many seconds is not expected either:
# all workers may start at once on a busy machine, but something may be wrong as well.
_LATE_S = 2.0


class Starts:
    """The starts of one worker's place, over all restarts.

    Attributes:
        failed: starts in a row that ended before the worker was ready.
        public_cause: the part of the last failure that callers may read; None if there is none.
    """

    def __init__(self, settings: EngineSettings, clock: Callable[[], float]) -> None:
        """Begin before the first start; `clock` gives the loop's time in seconds."""
        self.failed = 0
        self.public_cause: str | None = None
        self._settings = settings
        self._clock = clock
        self._short_lives = 0
        self._start_s: float | None = None  # how long the last successful start took
        self._at = 0.0  # when the present start began, or the next one will
        self._due_since = 0.0  # when the first start after the last end began, or will

    @property
    def unlikely(self) -> bool:
        """Whether no start is likely to succeed before something outside has changed."""
        return self.public_cause is not None or self.failed >= REPEATED_FAILURES

    @property
    def expected_at(self) -> float:
        """When a worker that is not up is likely to be ready; infinity if it is not likely."""
        if self.unlikely or self._start_s is None:
            return math.inf
        if self._clock() > self._due_since + 2 * self._start_s + _LATE_S:
            return math.inf
        return self._at + self._start_s

    def begin(self) -> None:
        """A start begins now."""
        self._at = self._clock()

    def succeed(self) -> None:
        """The worker is ready."""
        self.failed = 0
        self.public_cause = None
        self._start_s = self._clock() - self._at

    def fail(self, public_cause: str | None) -> None:
        """The worker ended before it was ready."""
        self.public_cause = public_cause
        self.failed += 1
        self._short_lives += 1

    def interrupt(self) -> None:
        """A worker that was ready is lost now."""
        self._at = self._due_since = self._clock()

    def end(self, ready_since: float) -> None:
        """A worker that was ready at `ready_since` has ended."""
        stable = self._clock() - ready_since >= self._settings.stable_s
        self._short_lives = 1 if stable else self._short_lives + 1

    def plan(self) -> float:
        """Plan the next start; return the seconds to wait for it."""
        doublings = min(max(self._short_lives - 1, 0), 30)
        backoff_s = min(
            self._settings.restart_backoff_s * 2.0**doublings,
            self._settings.restart_backoff_limit_s,
        )
        self._at = self._clock() + backoff_s
        if not self.failed:
            self._due_since = self._at
        return backoff_s
