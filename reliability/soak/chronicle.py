"""What was done to the service, and when: which errors are right depends on it."""

from __future__ import annotations

import bisect
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# Consequences are seen a little before and after what was written down.
SLACK_S = 0.5


@dataclass
class Event:
    """Something done to `service` (None: to all), over when the service had recovered."""

    kind: str
    service: str | None
    began: float
    ended: float = math.inf

    def touches(self, service: str, began: float, ended: float) -> bool:
        """Whether a request of that time to that service may have felt it."""
        mine = self.service is None or self.service == service
        return mine and self.began - SLACK_S <= ended and began <= self.ended + SLACK_S


@dataclass
class Generation:
    """Labels that were in force: from when their reload was asked for, until another's was over."""

    number: int
    since: float
    until: float = math.inf


@dataclass
class Chronicle:
    """Events, deaths of workers and generations of labels, in the order of time."""

    events: list[Event] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=lambda: [Generation(0, -math.inf)])
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    _deaths: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def event(self, kind: str, service: str | None = None) -> Iterator[Event]:
        """Write down what is done inside; it ends with the recovery that is waited for there."""
        event = Event(kind, service, time.monotonic())
        self.events.append(event)
        try:
            yield event
        finally:
            event.ended = time.monotonic()

    def died(self, service: str) -> None:
        """A worker of `service` has been killed, or stopped so that the service kills it."""
        self._deaths.setdefault(service, []).append(time.monotonic())

    def recovered(self, kind: str, seconds: float) -> None:
        """How long it took until every worker was up again."""
        self.recoveries_s.setdefault(kind, []).append(seconds)

    def deaths(self, service: str, began: float, ended: float) -> int:
        """Return how many workers of `service` died while a request ran."""
        times = self._deaths.get(service, [])
        return bisect.bisect_right(times, ended + SLACK_S) - bisect.bisect_left(
            times, began - SLACK_S
        )

    def during(self, kinds: frozenset[str], service: str, began: float, ended: float) -> bool:
        """Return whether one of `kinds` touched a request."""
        return any(e.kind in kinds and e.touches(service, began, ended) for e in self.events)

    def allowed_generations(self, began: float, ended: float) -> set[int]:
        """Return whose labels a request of that time may show."""
        return {
            g.number
            for g in self.generations
            if g.since - SLACK_S <= ended and began <= g.until + SLACK_S
        }

    def counts(self) -> Counter[str]:
        """Return how often each kind of event was done."""
        return Counter(event.kind for event in self.events)
