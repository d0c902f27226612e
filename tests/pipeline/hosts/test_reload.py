"""A reload replaces the engines as a whole, or changes nothing. Fakes take the place of workers."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pipeline.admission.services import Services
from pipeline.changes import Changes
from pipeline.engine.engine import EngineStartError
from pipeline.hosts.engines import Engines
from pipeline.hosts.reload import Reloader, ReloadError
from pipeline.settings.config import ServiceSettings, load_settings
from pipeline.settings.errors import ConfigError
from tests.patience import PATIENCE_S

CONFIG = "http_port: 0\nop: {waste: {local_service_conf: {model_config: model}}}\n"


class FakeEngine:
    """Starts and drains when the test lets it."""

    longest_s = timeout_s = 1.0
    facts: ClassVar[dict[str, Any]] = {}
    digests: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str) -> None:
        self.name = name
        self.ready = True
        self.on_change = Changes().subscribe
        self.closed = self.is_starting = False
        self.error: Exception | None = None
        self.may_start, self.may_drain = asyncio.Event(), asyncio.Event()
        self.may_start.set()
        self.drained = True

    async def start(self, *, all_workers: bool = False) -> None:
        self.is_starting = True
        await self.may_start.wait()
        if self.error is not None:
            raise self.error

    async def drain(self, timeout_s: float) -> bool:
        await self.may_drain.wait()
        return self.drained

    async def close(self) -> None:
        self.closed = True


@pytest.fixture
def settings(tmp_path: Path) -> ServiceSettings:
    (tmp_path / "model").mkdir()
    (tmp_path / "config.yml").write_text(CONFIG, encoding="utf-8")
    return load_settings(tmp_path / "config.yml")


class House:
    """A reloader with one old engine; every further engine comes from `made`."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.old, self.new = FakeEngine("waste"), FakeEngine("waste")
        self.loaded: ServiceSettings | Exception = settings
        self.applied: list[ServiceSettings] = []
        self.done: list[bool] = []
        serving: Any = {"waste": self.old}
        self.engines = Engines(serving)
        self.services = Services(serving, max_images=settings.max_images)
        self.services.phase = "ready"
        self.reloader = Reloader(
            settings,
            self.services,
            self.engines,
            make_engine=lambda _op: self.new,  # type: ignore[arg-type,return-value]
            load=self._load,
            apply=self.applied.append,
            on_done=self.done.append,
        )

    def _load(self) -> ServiceSettings:
        if isinstance(self.loaded, Exception):
            raise self.loaded
        return self.loaded

    @property
    def serving(self) -> Any:
        return self.engines.serving["waste"]


@pytest.fixture
def house(settings: ServiceSettings) -> House:
    return House(settings)


async def reload(house: House) -> float:
    return await asyncio.wait_for(house.reloader.reload(), PATIENCE_S)


async def test_new_engines_serve_and_the_old_ones_close_when_drained(house: House) -> None:
    assert await reload(house) >= 0
    assert house.serving is house.new
    assert not house.old.closed
    house.old.may_drain.set()
    await asyncio.wait_for(house.engines.close(), PATIENCE_S)
    assert house.old.closed
    assert house.new.closed
    assert (house.done, house.applied) == ([True], [house.reloader.settings])
    assert house.reloader.last is not None
    assert house.reloader.last["outcome"] == "reloaded"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ConfigError("config.yml: unknown key"), "config.yml: unknown key"),
        (EngineStartError("waste: no model"), "waste: no model"),
    ],
)
async def test_a_failed_reload_changes_nothing(
    house: House, error: Exception, message: str
) -> None:
    if isinstance(error, ConfigError):
        house.loaded = error
    else:
        house.new.error = error
    before = house.reloader.settings
    with pytest.raises(ReloadError, match=message):
        await reload(house)
    assert house.serving is house.old
    assert (house.reloader.settings, house.applied, house.done) == (before, [], [False])
    assert house.reloader.last is not None
    assert house.reloader.last["error"] == message


async def test_a_fixed_setting_is_named_by_its_key(house: House, settings: ServiceSettings) -> None:
    house.loaded = dataclasses.replace(settings, max_body_bytes=1)
    with pytest.raises(ReloadError, match="max_body_mb: cannot change while the service runs"):
        await reload(house)


async def test_new_engines_are_closed_if_the_settings_cannot_be_applied(house: House) -> None:
    def refuse(_settings: ServiceSettings) -> None:
        raise ConfigError("the certificate is damaged")

    house.reloader._apply = refuse
    with pytest.raises(ReloadError, match="the certificate is damaged"):
        await reload(house)
    assert house.new.closed
    assert house.serving is house.old


async def test_a_stop_ends_the_reload_that_runs(house: House) -> None:
    house.new.may_start.clear()
    running = asyncio.ensure_future(house.reloader.reload())
    while not house.reloader._running:
        await asyncio.sleep(0)
    await house.reloader.stop()
    with pytest.raises(ReloadError, match="the service is stopping"):
        await asyncio.wait_for(running, PATIENCE_S)
    assert house.serving is house.old


async def test_a_stop_during_a_reload_leaves_no_unretrieved_exception(house: House) -> None:
    """asyncio logged "_GatheringFuture exception was never retrieved" after each SIGTERM."""
    reported: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    house.new.may_start.clear()
    house.reloader.reload_soon()
    while not house.new.is_starting:
        await asyncio.sleep(0)
    await house.reloader.stop()
    gc.collect()
    await asyncio.sleep(0)
    assert reported == []
    assert house.new.closed


async def test_a_reload_goes_on_when_its_caller_is_cancelled(house: House) -> None:
    house.new.may_start.clear()
    caller = asyncio.ensure_future(house.reloader.reload())
    while not house.reloader._running:
        await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    (running,) = house.reloader._running
    house.new.may_start.set()
    await asyncio.wait_for(running, PATIENCE_S)
    assert house.serving is house.new


async def test_work_that_a_reload_cuts_off_is_logged(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.old.drained = False
    house.old.may_drain.set()
    await reload(house)
    await asyncio.wait_for(house.engines.close(), PATIENCE_S)
    assert "service waste: work was cut off by a reload" in caplog.text


async def test_without_a_file_there_is_nothing_to_read_again(house: House) -> None:
    house.reloader._load = None
    with pytest.raises(ReloadError, match="no file to read again"):
        await reload(house)
