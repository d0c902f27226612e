"""New configuration and bundles without an interruption.

load -> start new engines beside the old ones, checked and warm -> switch -> drain the old ones

Whatever fails before the switch changes nothing: the old engines serve until then. During a reload
there are twice as many workers, and twice their memory.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from ..admission.services import Services
from ..engine.engine import Engine, EngineStartError
from ..serving_report import served_text, unchanged
from ..settings.access import AccessSettings
from ..settings.config import ServiceSettings
from ..settings.errors import ConfigError
from ..settings.op import OpSettings
from .engines import Engines
from .served import served

logger = logging.getLogger(__name__)

# What can change while the ports stay open. Of `access` it is the files of TLS.
_RELOADABLE = frozenset(
    {
        "ops",
        "api_keys",
        "max_images",
        "drain_timeout_s",
        "shutdown_delay_s",
        "warning",
        "source",
        "file",
        "in_working_folder",
    }
)
_KEYS = {
    "access": "tls, cors_origins, max_connections or max_inflight_mb",
    "max_body_bytes": "max_body_mb",
    "keep_alive_s": "keep_alive",
    "metrics_port": "dag.prometheus_port",
}
_START_SLACK_S = 10.0


class ReloadError(Exception):
    """Nothing has changed; the text says why, in one line."""


class Reloader:
    """Replaces the engines that serve, one reload at a time, each in a task of its own.

    Attributes:
        settings: those that are served now.
        last: when the last reload ended (Unix time), and its outcome; None before the first.
        as_before: of each service, the kinds of files that the last reload did not change.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        services: Services,
        engines: Engines,
        *,
        make_engine: Callable[[OpSettings], Engine],
        load: Callable[[], ServiceSettings] | None,
        apply: Callable[[ServiceSettings], None],
        on_done: Callable[[bool], None],
    ) -> None:
        """Begin with `settings`; `load` reads them again, None where they came from no file.

        `apply` takes over the settings that belong to no engine; it changes nothing if it raises
        ConfigError. `on_done` is called after each reload, with True if it succeeded.
        """
        self.settings = settings
        self.last: dict[str, Any] | None = None
        self.as_before: dict[str, list[str]] = {}
        self._services = services
        self._engines = engines
        self._make_engine = make_engine
        self._load = load
        self._apply = apply
        self._on_done = on_done
        self._one_at_a_time = asyncio.Lock()
        self._running: set[asyncio.Task[float]] = set()

    async def reload(self) -> float:
        """Load, start, switch; return the seconds it took. It goes on if the caller is cancelled.

        Raises:
            ReloadError: nothing has changed.
        """
        task = self._begin()
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():  # by `stop`, not by the caller
                raise ReloadError("the service is stopping") from None
            raise

    def reload_soon(self) -> None:
        """Reload without waiting for the end; errors are logged."""
        self._begin().add_done_callback(_log_unforeseen)

    async def stop(self) -> None:
        """End the reloads that run."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _begin(self) -> asyncio.Task[float]:
        task = asyncio.get_running_loop().create_task(self._reload(), name="reload")
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        return task

    async def _reload(self) -> float:
        began = time.monotonic()
        succeeded = False
        try:
            async with self._one_at_a_time:
                before = served(self.settings, self._engines.serving)
                await self._replace()
                succeeded = True
                seconds = time.monotonic() - began
                self._note("reloaded", None)
                self._log(before, seconds)
                return seconds
        except ReloadError as error:
            self._note("unchanged", str(error))
            logger.error("not reloaded, nothing has changed: %s", error)
            raise
        finally:
            self._on_done(succeeded)

    async def _replace(self) -> None:
        settings = await self._loaded()
        self._refuse_when_stopping()
        serving = {op.name: self._make_engine(op) for op in settings.ops}
        try:
            await _start(serving, settings)
            self._refuse_when_stopping()
            self._apply(settings)
        except BaseException as error:
            await asyncio.shield(asyncio.gather(*(engine.close() for engine in serving.values())))
            if isinstance(error, ConfigError):
                raise ReloadError(str(error)) from error
            raise
        self.settings = settings
        if settings.warning:
            logger.warning("%s", settings.warning)
        # Nothing waits from here on: a request finds either the old engines or the new ones.
        self._services.replace(serving, max_images=settings.max_images)
        self._engines.replace(serving, drain_timeout_s=settings.drain_timeout_s)

    async def _loaded(self) -> ServiceSettings:
        """Return the new settings, which the open ports allow."""
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
        return settings

    def _refuse_when_stopping(self) -> None:
        if self._services.phase != "ready":
            raise ReloadError(f"the service is {self._services.phase}")

    def _log(self, before: Mapping[str, Any], seconds: float) -> None:
        """Say what is served from now on, by the names of real files."""
        logger.warning("reloaded %s in %.1f s", self.settings.file, seconds)
        after = served(self.settings, self._engines.serving)
        self.as_before = {
            name: unchanged(files, before.get(name, {})) for name, files in after.items()
        }
        for name, files in after.items():
            logger.warning("service %s: %s", name, served_text(files, self.as_before[name]))

    def _note(self, outcome: str, error: str | None) -> None:
        self.last = {"at": time.time(), "outcome": outcome, "error": error}


async def _start(engines: Mapping[str, Engine], settings: ServiceSettings) -> None:
    limit_s = _START_SLACK_S + max(op.engine.start_timeout_s for op in settings.ops)
    try:
        await asyncio.wait_for(_all_started(engines), limit_s)
    except EngineStartError as error:
        raise ReloadError(str(error)) from error
    except asyncio.TimeoutError as error:
        raise ReloadError(f"not all new workers were ready within {limit_s:g} s") from error


async def _all_started(engines: Mapping[str, Engine]) -> None:
    # A coroutine, and not the future of `gather`: if it is cancelled, wait_for leaves the future's
    # exception unretrieved, and asyncio logs that.
    await asyncio.gather(*(engine.start(all_workers=True) for engine in engines.values()))


def _changed(old: ServiceSettings, new: ServiceSettings) -> set[str]:
    """Return what differs, by the names of the configuration."""
    return {
        _KEYS.get(field.name, field.name)
        for field in dataclasses.fields(ServiceSettings)
        if _fixed_part(getattr(old, field.name)) != _fixed_part(getattr(new, field.name))
    }


def _fixed_part(value: object) -> object:
    """Return what of a setting must not change: of TLS not its files, which are often renewed."""
    if not isinstance(value, AccessSettings):
        return value
    tls = value.tls
    return dataclasses.replace(value, tls=None), tls and tls.client_ca is not None


def _log_unforeseen(task: asyncio.Task[float]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None and not isinstance(error, ReloadError):  # a ReloadError is logged already
        logger.error("the reload failed", exc_info=error)
