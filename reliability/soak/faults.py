"""Faults in the running service, one after another, in shuffled rounds."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks.bare import ROOT

from ..attack.alone import SHORT
from ..attack.judge import SPARE_MIB, memory_bound_mib
from ..attack.measure import usage
from ..attack.table import ATTACKS
from ..wire import HOST, HttpConnection, HttpMessage, NoReplyError
from .judge import BURST, CRASH, HANG, KILL, KILL_ALL, LABELS_GONE
from .service_files import SERVICES, ServiceFiles
from .timeline import Generation, Timeline
from .traffic import Traffic

RELOAD, BAD_RELOAD, CROWD = "reload", "reload refused", "300 idle connections"
RECOVERY_LIMIT_S = 60.0
IDLE_CONNECTIONS = 300
ATTACKS_A_ROUND = 3
ATTACK_S = 3.0


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
        rpc_port: int,
        admin_port: int,
    ) -> None:
        self.complaints: list[str] = []
        self._files = files
        self._traffic = traffic
        self._timeline = timeline
        self._chance = chance
        self._process_id = process_id
        self._http_port = http_port
        self._rpc_port = rpc_port
        self._admin_port = admin_port
        self._admin = HttpConnection(admin_port)
        self._deck: list[Callable[[], Awaitable[None]]] = []
        self._attacks: list[str] = []

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
                    *[self._attack] * ATTACKS_A_ROUND,
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

    async def _attack(self) -> None:
        """Run one of the attacks, from a process of its own, beside all the callers."""
        if not self._attacks:
            self._attacks = list(SHORT)
            self._chance.shuffle(self._attacks)
        name = self._attacks.pop()
        before = await asyncio.to_thread(usage, self._process_id)
        with self._timeline.event(f"attack: {name}"):
            attacking = await self._start_attack(name)
            most_mib = 0.0
            output = asyncio.create_task(attacking.communicate())
            while not output.done():
                now = await asyncio.to_thread(usage, self._process_id)
                most_mib = max(most_mib, now.service_mib - before.service_mib)
                await asyncio.wait({output}, timeout=0.2)
        self.complaints += attack_complaints(name, most_mib, (await output)[0])

    async def _start_attack(self, name: str) -> asyncio.subprocess.Process:
        numbers = (self._http_port, self._rpc_port, self._admin_port, self._process_id)
        arguments = (name, *map(str, numbers), self._service(), str(ATTACK_S))
        command = (sys.executable, "-m", "reliability.attack.alone", *arguments)
        return await asyncio.create_subprocess_exec(
            *command, cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )

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


def attack_complaints(name: str, grown_mib: float, output: bytes) -> list[str]:
    """Return what the service did wrong while it was attacked: memory beyond its bound, replies.

    The callers of a soak have bodies of their own in memory meanwhile, hence twice the spare.
    """
    (attack,) = (attack for attack in ATTACKS if attack.name == name)
    bound_mib = memory_bound_mib(attack) + SPARE_MIB
    complaints = []
    if grown_mib > bound_mib:
        complaints.append(
            f"attack: {name}: the service process grew by {grown_mib:.0f} MiB; "
            f"{bound_mib:.0f} are allowed"
        )
    try:
        problems = json.loads(output)["problems"]
    except ValueError:
        problems = ["it broke off"]
    return complaints + [f"attack: {name}: {problem}" for problem in problems]


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it has just ended by itself
        os.kill(pid, number)
