"""Faults in the running service, one after another, in shuffled rounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from typing import Any

from ..wire import HOST, HttpConnection, HttpMessage, NoReplyError
from .judge import BURST, CRASH, HANG, KILL, KILL_ALL, LABELS_GONE
from .service_files import SERVICES, ServiceFiles
from .timeline import Generation, Timeline
from .traffic import Traffic

RELOAD, BAD_RELOAD, CROWD = "reload", "reload refused", "300 idle connections"
RECOVERY_LIMIT_S = 60.0
IDLE_CONNECTIONS = 300


class Faults:
    """Causes faults; `complaints` has what the service did wrong about them."""

    def __init__(
        self,
        files: ServiceFiles,
        traffic: Traffic,
        timeline: Timeline,
        chance: random.Random,
        *,
        process_id: int,
        http_port: int,
        admin_port: int,
    ) -> None:
        self.complaints: list[str] = []
        self._files = files
        self._traffic = traffic
        self._timeline = timeline
        self._chance = chance
        self._process_id = process_id
        self._http_port = http_port
        self._admin = HttpConnection(admin_port)
        self._deck: list[Callable[[], Awaitable[None]]] = []

    async def run(self, until: float) -> None:
        """Cause one fault after another, with pauses, until the time `until`."""
        while time.monotonic() < until:
            if not self._deck:
                self._deck = [
                    self._kill,
                    self._crash,
                    self._kill_all,
                    self._hang,
                    self._burst,
                    self._reload,
                    self._bad_reload,
                    self._labels_vanish,
                    self._crowd,
                ]
                self._chance.shuffle(self._deck)
            await self._deck.pop()()
            await asyncio.sleep(self._chance.uniform(0.5, 2.5))

    async def status(self) -> dict[str, Any]:
        """Return the status of the admin address."""
        code, body = await self._admin.exchange(HttpMessage("/-/status", b"", method="GET"), 10)
        if code != 200:
            raise NoReplyError(f"the admin address answers {code}")
        status: dict[str, Any] = json.loads(body)
        return status

    async def recovered(self, kind: str, began: float | None = None) -> None:
        """Wait until every worker is up, and record how long that took since `began`."""
        began = time.monotonic() if began is None else began
        limit = time.monotonic() + RECOVERY_LIMIT_S
        while True:
            with contextlib.suppress(NoReplyError):
                status = await self.status()
                workers = [w["state"] for s in status["services"] for w in s["workers"]]
                if all(state in ("idle", "busy") for state in workers):
                    self._timeline.recovered(kind, time.monotonic() - began)
                    return
            if time.monotonic() > limit:
                self.complaints.append(f"{kind}: no recovery within {RECOVERY_LIMIT_S:g} s")
                return
            await asyncio.sleep(0.05)

    async def close(self) -> None:
        """Close the connection to the admin address."""
        await self._admin.close()

    # --- faults ----------------------------------------------------------------------------------

    async def _kill(self) -> None:
        await self._end_workers(KILL, signal.SIGKILL, all_of_them=False)

    async def _crash(self) -> None:
        await self._end_workers(CRASH, signal.SIGSEGV, all_of_them=False)

    async def _kill_all(self) -> None:
        await self._end_workers(KILL_ALL, signal.SIGKILL, all_of_them=True)

    async def _hang(self) -> None:
        """Stop a worker. When it has a batch and its time is over, the service replaces it."""
        service = self._service()
        workers = await self._workers(service)
        pid = self._chance.choice(workers)
        with self._timeline.event(HANG, service):
            began = time.monotonic()
            self._timeline.died(service)
            _signal(pid, signal.SIGSTOP)
            while pid in await self._workers(service):
                if time.monotonic() - began > RECOVERY_LIMIT_S:
                    self.complaints.append(f"{HANG}: never replaced")
                    _signal(pid, signal.SIGCONT)
                    break
                await asyncio.sleep(0.1)
            self._timeline.died(service)  # at this moment it was killed
            await self.recovered(HANG, began)

    async def _burst(self) -> None:
        service = self._service()
        with self._timeline.event(BURST, service):
            await self._traffic.burst(service)

    async def _reload(self) -> None:
        """Reload new labels, by SIGHUP or over the admin address."""
        number = self._timeline.generations[-1].number + 1
        self._files.write_labels(number)
        generation = Generation(number, time.monotonic())
        previous = self._timeline.generations[-1]
        self._timeline.generations.append(generation)
        with self._timeline.event(RELOAD):
            began = time.monotonic()
            outcome = await self._reload_and_wait()
            if outcome.get("outcome") != "reloaded":
                self.complaints.append(f"{RELOAD}: {outcome}")
            self._timeline.recovered(RELOAD, time.monotonic() - began)
            previous.until = time.monotonic()

    async def _bad_reload(self) -> None:
        how = self._chance.choice(("no YAML", "an unknown key", "no such bundle", "too few labels"))
        with self._files.broken(how), self._timeline.event(BAD_RELOAD):
            before = [await self._workers(name) for name, _, _ in SERVICES]
            outcome = await self._reload_and_wait()
            if outcome.get("outcome") != "unchanged" or not outcome.get("error"):
                self.complaints.append(f"{BAD_RELOAD} ({how}): {outcome}")
            if [await self._workers(name) for name, _, _ in SERVICES] != before:
                self.complaints.append(f"{BAD_RELOAD} ({how}): workers changed")

    async def _labels_vanish(self) -> None:
        """Kill a worker while there is no label file; the service must start it again."""
        service = self._service()
        file = self._files.labels_file(service)
        beside = file.with_suffix(".away")
        file.replace(beside)
        try:
            await self._end_workers(LABELS_GONE, signal.SIGKILL, service, all_of_them=False)
        finally:
            beside.replace(file)

    async def _crowd(self) -> None:
        with self._timeline.event(CROWD):
            streams = [
                await asyncio.open_connection(HOST, self._http_port)
                for _ in range(IDLE_CONNECTIONS)
            ]
            await asyncio.sleep(1.0)
            for _, writer in streams:
                writer.close()
            for _, writer in streams:
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    # --- how ------------------------------------------------------------------------------------

    async def _end_workers(
        self, kind: str, number: int, service: str | None = None, *, all_of_them: bool
    ) -> None:
        service = service or self._service()
        workers = await self._workers(service)
        chosen = workers if all_of_them else [self._chance.choice(workers)]
        with self._timeline.event(kind, service):
            for pid in chosen:
                self._timeline.died(service)
                _signal(pid, number)
            began = time.monotonic()
            while set(chosen) & set(await self._workers(service)):
                # A crash takes a while: the runtime writes a stack trace first.
                if time.monotonic() - began > RECOVERY_LIMIT_S:
                    self.complaints.append(f"{kind}: {chosen} never ended")
                    break
                await asyncio.sleep(0.02)
            await self.recovered(kind, began)

    async def _workers(self, service: str) -> list[int]:
        status = await self.status()
        (found,) = (s for s in status["services"] if s["name"] == service)
        return [worker["pid"] for worker in found["workers"] if worker["pid"]]

    async def _reload_and_wait(self) -> dict[str, Any]:
        """Reload, and return its outcome from the status."""
        before = (await self.status())["last_reload"]
        if self._chance.random() < 0.5:
            os.kill(self._process_id, signal.SIGHUP)
        else:
            await self._admin.exchange(HttpMessage("/-/reload", b""), RECOVERY_LIMIT_S)
        deadline = time.monotonic() + RECOVERY_LIMIT_S
        while (last := (await self.status())["last_reload"]) == before:
            if time.monotonic() > deadline:
                return {"outcome": "none"}
            await asyncio.sleep(0.05)
        outcome: dict[str, Any] = last
        return outcome

    def _service(self) -> str:
        return self._chance.choice([name for name, _, _ in SERVICES])


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, number)
