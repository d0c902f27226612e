"""The engines of one host: those that serve, and those that finish their work after a reload."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from ..engine.command import WorkerCommand
from ..engine.engine import Engine
from ..engine.report import OnBatch, ignore
from ..engine.status import Counters
from ..settings.op import OpSettings

logger = logging.getLogger(__name__)


def engine_of(
    op: OpSettings, *, counters: Counters | None = None, on_batch: OnBatch = ignore
) -> Engine:
    """Return the engine that `op` configures, not yet started.

    `counters` are those of an engine that this one follows; `on_batch` receives every batch.
    """
    command = WorkerCommand.for_classifier(op.classifier, op.devices)
    return Engine(op.name, command, op.engine, counters=counters, on_batch=on_batch)


class Engines:
    """A set of engines that can be replaced while it serves.

    Attributes:
        serving: the engines that serve now, by service.
    """

    def __init__(self, serving: Mapping[str, Engine]) -> None:
        self.serving = serving
        self._retiring: dict[asyncio.Task[None], Engine] = {}

    async def start(self) -> None:
        """Start every engine; each is ready with its first worker.

        Raises:
            EngineStartError: no worker of a service could start.
        """
        await asyncio.gather(*(engine.start() for engine in self.serving.values()))

    def replace(self, serving: Mapping[str, Engine], *, drain_timeout_s: float) -> None:
        """Let `serving` serve from now on; the engines before them drain and close on their own."""
        old, self.serving = self.serving, serving
        for engine in old.values():
            # A reload loses nothing: what the engine has accepted keeps its own time.
            patience_s = max(drain_timeout_s, engine.longest_s)
            task = asyncio.create_task(_retire(engine, patience_s), name=f"retire {engine.name}")
            self._retiring[task] = engine
            task.add_done_callback(self._retiring.pop)

    async def drain(self, timeout_s: float) -> bool:
        """Drain every engine; False when some work is left after `timeout_s`."""
        return all(await asyncio.gather(*(engine.drain(timeout_s) for engine in self._all())))

    async def close(self) -> None:
        """Close every engine."""
        await asyncio.gather(*(engine.close() for engine in self._all()))
        await asyncio.gather(*self._retiring)

    def _all(self) -> list[Engine]:
        return [*self.serving.values(), *self._retiring.values()]


async def _retire(engine: Engine, patience_s: float) -> None:
    if not await engine.drain(patience_s):
        logger.warning("service %s: work was cut off by a reload", engine.name)
    await engine.close()
