"""The status of an engine and its workers."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field


class WorkerState(str, enum.Enum):
    """Where a worker is in its life."""

    STARTING = "starting"
    IDLE = "idle"
    BUSY = "busy"
    RESTARTING = "restarting"  # dead or dying; its successor waits for its back-off
    STOPPED = "stopped"

    @property
    def ready(self) -> bool:
        """Whether the worker is up and can take a batch now or after the one it has."""
        return self in (WorkerState.IDLE, WorkerState.BUSY)


@dataclass(slots=True)
class Counters:
    """Counts of images since the service was started, also over reloads.

    admitted = answered + failed + expired + abandoned + those that still wait or run;
    rejected ones (Overloaded, NotReady, ServiceClosed) were never admitted. `restarts` counts
    workers.
    """

    admitted: int = 0
    answered: int = 0
    failed: int = 0
    expired: int = 0
    abandoned: int = 0
    rejected: int = 0
    retried: int = 0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """One worker now, and its counts over all restarts; `cause` is the cause of its last end."""

    name: str
    pid: int | None
    state: WorkerState
    restarts: int
    batches: int
    images: int
    cause: str | None


@dataclass(frozen=True, slots=True)
class EngineStatus:
    """One engine now.

    `waiting`, `queue_size` and `counters` count images, `open_requests` requests. `best_batch` is
    the size of a batch that gives most images a second; `images_per_s` are those of one worker, by
    the size of the batch, as far as they are known.
    """

    name: str
    ready: bool
    waiting: int
    queue_size: int
    open_requests: int
    workers: tuple[WorkerStatus, ...]
    counters: Counters
    best_batch: int = 0
    images_per_s: Mapping[int, float] = field(default_factory=dict)
