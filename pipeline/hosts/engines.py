"""The engine of one configured service."""

from __future__ import annotations

from ..engine.command import WorkerCommand
from ..engine.engine import Engine
from ..engine.report import OnBatch, ignore
from ..engine.status import Counters
from ..settings.op import OpSettings


def engine_of(
    op: OpSettings, *, counters: Counters | None = None, on_batch: OnBatch = ignore
) -> Engine:
    """Return the engine that `op` configures, not yet started.

    `counters` are those of an engine that this one follows; `on_batch` receives every batch.
    """
    command = WorkerCommand.for_classifier(op.classifier, op.devices)
    return Engine(op.name, command, op.engine, counters=counters, on_batch=on_batch)
