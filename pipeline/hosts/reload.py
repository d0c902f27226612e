"""New configuration and bundles without a moment's pause.

load -> start new engines beside the old ones, checked and warm -> switch -> drain the old ones

Whatever goes wrong before the switch changes nothing: the old engines have served all the while.
For the time of a reload there are twice as many workers, and twice their memory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable
from typing import Any

from ..admission.services import Services
from ..engine.engine import Engine, EngineStartError
from ..settings.config import ServiceSettings
from ..settings.errors import ConfigError
from ..settings.op import OpSettings

logger = logging.getLogger(__name__)

# What one can change while the ports stay open.
_RELOADABLE = frozenset({"ops", "api_keys", "max_images", "drain_timeout_s", "warning", "source"})
_KEYS = {
    "access": "tls, cors_origins, max_connections or max_inflight_mb",
    "max_body_bytes": "max_body_mb",
    "metrics_port": "dag.prometheus_port",
}
_START_SLACK_S = 10.0


class ReloadError(Exception):
    """Nothing has changed; the text says why, in one line."""


class Reloader:
    """Puts new engines in the place of those that serve.

    Attributes:
        settings: those that are served now.
        engines: those that serve now, by service.
        last: when the last reload ended (Unix time), and what became of it; None before.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        services: Services,
        make_engine: Callable[[OpSettings], Engine],
        load: Callable[[], ServiceSettings] | None,
        apply: Callable[[ServiceSettings], None],
    ) -> None:
        """Begin with `settings`; `load` reads them again, None where they came from no file.

        `apply` takes over what is no engine's; it changes nothing if it raises ConfigError.
        """
        self.settings = settings
        self.engines = {op.name: make_engine(op) for op in settings.ops}
        self.last: dict[str, Any] | None = None
        self._services = services
        self._make_engine = make_engine
        self._load = load
        self._apply = apply
        self._one_at_a_time = asyncio.Lock()
        self._retiring: dict[asyncio.Task[None], Engine] = {}

    async def reload(self) -> float:
        """Load, start, switch; return the seconds it took. The old engines drain on their own.

        Raises:
            ReloadError: nothing has changed.
        """
        began = time.monotonic()
        async with self._one_at_a_time:
            try:
                await self._reload()
            except ReloadError as error:
                self._tell("unchanged", str(error))
                logger.error("not reloaded, nothing has changed: %s", error)
                raise
            seconds = time.monotonic() - began
            self._tell("reloaded", None)
            logger.warning("reloaded %s in %.1f s", self.settings.source, seconds)
            return seconds

    async def drain(self, timeout_s: float) -> bool:
        """Drain every engine there is; False when some work is left after `timeout_s`."""
        return all(await asyncio.gather(*(engine.drain(timeout_s) for engine in self._all())))

    async def close(self) -> None:
        """Close every engine there is."""
        await asyncio.gather(*(engine.close() for engine in self._all()))
        await asyncio.gather(*self._retiring)

    async def _reload(self) -> None:
        if self._load is None:
            raise ReloadError("this host was given its settings; there is no file to read again")
        try:
            settings = await asyncio.to_thread(self._load)
        except ConfigError as error:
            raise ReloadError(str(error)) from error
        fixed = _changed(self.settings, settings) - _RELOADABLE
        if fixed:
            raise ReloadError(
                f"{', '.join(sorted(fixed))}: cannot change while the service runs; restart it"
            )
        self._refuse_when_stopping()
        engines = {op.name: self._make_engine(op) for op in settings.ops}
        try:
            await self._start(engines, settings)
            self._refuse_when_stopping()
            self._apply(settings)
        except BaseException as error:
            await asyncio.shield(asyncio.gather(*(engine.close() for engine in engines.values())))
            if isinstance(error, ConfigError):
                raise ReloadError(str(error)) from error
            raise
        old, self.engines, self.settings = self.engines, engines, settings
        if settings.warning:
            logger.warning("%s", settings.warning)
        # From here on nothing waits: a request finds either the old engines or the new ones.
        self._services.replace(engines, max_images=settings.max_images)
        for engine in old.values():
            task = asyncio.create_task(self._retire(engine), name=f"retire {engine.name}")
            self._retiring[task] = engine
            task.add_done_callback(self._retiring.pop)

    async def _start(self, engines: dict[str, Engine], settings: ServiceSettings) -> None:
        limit_s = _START_SLACK_S + max(op.engine.start_timeout_s for op in settings.ops)
        starts = asyncio.gather(*(e.start(all_workers=True) for e in engines.values()))
        try:
            await asyncio.wait_for(starts, limit_s)
        except EngineStartError as error:
            raise ReloadError(str(error)) from error
        except asyncio.TimeoutError as error:
            raise ReloadError(f"not all new workers were ready within {limit_s:g} s") from error

    async def _retire(self, engine: Engine) -> None:
        # Whoever was taken in is answered, or its time is up; a stop has less patience, a reload
        # loses nothing.
        if not await engine.drain(max(self.settings.drain_timeout_s, engine.longest_s)):
            logger.warning("service %s: work was cut off by a reload", engine.name)
        await engine.close()

    def _all(self) -> list[Engine]:
        """Those that serve, and those that still finish what they had before a reload."""
        return [*self.engines.values(), *self._retiring.values()]

    def _refuse_when_stopping(self) -> None:
        if self._services.phase != "ready":
            raise ReloadError(f"the service is {self._services.phase}")

    def _tell(self, outcome: str, error: str | None) -> None:
        self.last = {"at": time.time(), "outcome": outcome, "error": error}


def _changed(old: ServiceSettings, new: ServiceSettings) -> set[str]:
    """Return what differs, by the configuration's own names."""
    return {
        _KEYS.get(field.name, field.name)
        for field in dataclasses.fields(ServiceSettings)
        if getattr(old, field.name) != getattr(new, field.name)
    }
