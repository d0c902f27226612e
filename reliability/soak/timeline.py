"""The faults of the service in the order of time; they decide which errors are right."""

from __future__ import annotations

import bisect
import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

# A request may feel a fault a little before or after the recorded times.
SLACK_S = 0.5


@dataclass
class Event:
    """A fault of `service` (None: of all); it ends when the service has recovered."""

    kind: str
    service: str | None
    began: float
    ended: float = math.inf

    def touches(self, service: str, began: float, ended: float) -> bool:
        """Whether a request of that time to that service may have felt the fault."""
        mine = self.service is None or self.service == service
        return mine and self.began - SLACK_S <= ended and began <= self.ended + SLACK_S


@dataclass
class Generation:
    """Labels and their time: from the begin of their reload to the end of the next."""

    number: int
    since: float
    until: float = math.inf


@dataclass
class Timeline:
    """Events, deaths of workers and generations of labels, in the order of time."""

    events: list[Event] = field(default_factory=list)
    generations: list[Generation] = field(default_factory=lambda: [Generation(0, -math.inf)])
    recoveries_s: dict[str, list[float]] = field(default_factory=dict)
    _deaths: dict[str, list[float]] = field(default_factory=dict)

    @contextmanager
    def event(self, kind: str, service: str | None = None) -> Iterator[Event]:
        """Record a fault; the context causes it and waits for the recovery."""
        event = Event(kind, service, time.monotonic())
        self.events.append(event)
        try:
            yield event
        finally:
            event.ended = time.monotonic()

    def died(self, service: str) -> None:
        """Record that a worker of `service` was killed, or stopped so that the service kills it."""
        self._deaths.setdefault(service, []).append(time.monotonic())

    def recovered(self, kind: str, seconds: float) -> None:
        """Record how long it took until every worker was up again."""
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
        """Return the generations whose labels the reply to a request of that time may have."""
        return {
            g.number
            for g in self.generations
            if g.since - SLACK_S <= ended and began <= g.until + SLACK_S
        }

    def counts(self) -> Counter[str]:
        """Return how often each kind of fault was caused."""
        return Counter(event.kind for event in self.events)
