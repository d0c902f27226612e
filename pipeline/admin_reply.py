"""What the admin address replies, as types: anything else is no reply of an admin address.

The commands decode replies into these and nothing else, so that wrong types, numbers that are none
and deep nesting are an error of one line, and a large reply is no larger in memory.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias, TypedDict

from msgspec import Meta

Count: TypeAlias = Annotated[int, Meta(ge=0, le=2**62)]
Seconds: TypeAlias = Annotated[float, Meta(ge=0, lt=1e12)]


class File(TypedDict):
    """A file that is served, and the digest of its content."""

    file: str
    sha256: str | None


class Served(TypedDict, total=False):
    """What one service serves, as `hosts.served` gives it."""

    bundle: str
    model: File | None
    parameters: File | None
    labels: File | None
    classifier: File | None


class Worker(TypedDict):
    """One worker, as `engine.status.WorkerStatus`."""

    name: str
    pid: Count | None
    state: str
    restarts: Count
    images: Count
    batches: Count
    cause: str | None


class Counters(TypedDict):
    """Counts of images."""

    answered: Count
    failed: Count
    expired: Count
    abandoned: Count
    rejected: Count


class Facts(TypedDict, total=False):
    """What is known of the model; only its name is shown."""

    model: str | float | None


class Tuning(TypedDict, total=False):
    """What became of the bundle's tuning, as `settings.tuned.TuningUse`; only the line is shown."""

    state: str
    text: str


class ServiceBase(TypedDict):
    """One service, as `engine.status.EngineStatus`."""

    name: str
    ready: bool
    waiting: Count
    queue_size: Count
    workers: list[Worker]
    counters: Counters
    facts: Facts


class Service(ServiceBase, total=False):
    """The same, with what it serves, and what is known of its batches."""

    served: Served
    best_batch: Count
    images_per_s: dict[str, Seconds]
    tuning: Tuning


class LastReload(TypedDict):
    """How the last reload ended."""

    at: Seconds
    outcome: str
    error: str | None


class StatusBase(TypedDict):
    """The status of a service, as `hosts.standalone` gives it."""

    version: str
    phase: str
    pid: Count
    uptime_s: Seconds
    source: str
    services: list[Service]
    last_reload: LastReload | None


class Status(StatusBase, total=False):
    """The same, with the file of the configuration."""

    file: str | None


class ReloadReportBase(TypedDict):
    """The outcome of a reload."""

    status: str


class ReloadReport(ReloadReportBase, total=False):
    """The same: with its cause if it failed, and what is served if not."""

    error: str
    seconds: Seconds
    served: dict[str, Served]
    as_before: dict[str, list[str]]
