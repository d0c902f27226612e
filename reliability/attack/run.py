"""Runs attacks one after another on services of their own, and judges each."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from ..traces import stack_traces
from ..wire import HttpConnection, HttpMessage, NoReplyError
from .attacker import Attack, Attacker
from .harmless import HARMLESS
from .judge import SPARE_MIB, Reference, problems
from .measure import Observation, Watch, usage
from .report import Result
from .target import Attacked, Mode, start_target

LINGER_S = 0.5  # what an attack leaves behind shows itself
CALM_S = 20.0
STOP_S = 60.0
Say = Callable[[str], None]


class Runs:
    """The attacks of one command; `log` receives what the services write."""

    def __init__(
        self, folder: Path, seconds: float, say: Say, given: Attacked | None = None
    ) -> None:
        """Attack the service that is `given`, or services that are started for it."""
        self.results: list[Result] = []
        self._folder = folder
        self._seconds = seconds
        self._say = say
        self._given = given
        self._references: dict[bool, Reference] = {}

    async def run(self, chosen: list[tuple[Attack, Mode]]) -> None:
        """Try them all: first those on a service without keys."""
        for keyed in (False, True):
            rest = [pair for pair in chosen if pair[1].keyed is keyed]
            lasting = [pair for pair in rest if not pair[0].ends_service]
            while lasting:
                lasting = await self._on_one_service(lasting, keyed=keyed)
            for attack, mode in rest:
                if attack.ends_service:
                    await self._to_the_end(attack, mode)

    async def _on_one_service(
        self, chosen: list[tuple[Attack, Mode]], *, keyed: bool
    ) -> list[tuple[Attack, Mode]]:
        """Attack one service until it is not as it was; return the attacks that are left."""
        with self._service(keyed=keyed) as (service, log):
            watch = Watch(service.process_id)
            async with watch.running(service):
                if keyed not in self._references:
                    self._references[keyed] = await self._refer(service, watch, log, keyed=keyed)
                await _calm(service, watch)
                fresh = usage(service.process_id).service_mib
                for number, (attack, mode) in enumerate(chosen, 1):
                    seen = await self._observe(attack, mode, service, watch, log)
                    self._judge(attack, mode, seen, self._references[keyed])
                    left = usage(service.process_id).service_mib - fresh
                    changed = self.results[-1].problems or left > SPARE_MIB
                    if changed and self._given is None:
                        return chosen[number:]
                    await _calm(service, watch)
        return []

    async def _refer(self, service: Attacked, watch: Watch, log: _Log, *, keyed: bool) -> Reference:
        mode = Mode.HOLDER if keyed else Mode.OPEN
        self._say(f"harmless traffic, {'keys' if keyed else 'no keys'}")
        await _calm(service, watch)
        idle = Observation(seconds=3.0)
        with watch.observing(idle):
            await asyncio.sleep(idle.seconds)
        kinds = {}
        for kind, traffic in HARMLESS.items():
            kinds[kind] = await self._observe(traffic, mode, service, watch, log)
            await _calm(service, watch)
        return Reference(idle, kinds)

    async def _observe(
        self, attack: Attack, mode: Mode, service: Attacked, watch: Watch, log: _Log
    ) -> Observation:
        seen = Observation()
        if attack.prepare is not None:
            await asyncio.to_thread(attack.prepare)
        before = await _restarts(service)
        log.new()
        began = time.monotonic()
        with watch.observing(seen):
            attacker = Attacker(service.seen_by(mode), began + self._seconds)
            await _attack(attack, attacker)
            await asyncio.sleep(LINGER_S)
        seen.seconds = time.monotonic() - began
        seen.sent, seen.problems = attacker.sent, attacker.problems
        seen.traces = stack_traces(log.new())
        after = await _restarts(service)
        if after is None or not service.alive:
            seen.problems.append("the admin address does not reply")
        seen.restarts = (after or 0) - (before or 0)
        return seen

    async def _to_the_end(self, attack: Attack, mode: Mode) -> None:
        with self._service(keyed=mode.keyed) as (service, log):
            seen = Observation()
            began = time.monotonic()
            attacker = Attacker(service.seen_by(mode), began + STOP_S)
            await _attack(attack, attacker)
            code = await asyncio.to_thread(_exit_code, service)
            if code != (1 if attacker.cut else 0):
                attacker.problems.append(f"{attacker.cut} requests were cut off; exit code {code}")
            seen.seconds = time.monotonic() - began
            seen.sent, seen.problems = attacker.sent, attacker.problems
            seen.traces = stack_traces(log.new())
        found = list(seen.problems)
        if seen.traces:
            found.append(f"{seen.traces} stack traces are in the service's log")
        self._add(Result(attack, mode, seen, None, found))

    @contextlib.contextmanager
    def _service(self, *, keyed: bool) -> Iterator[tuple[Attacked, _Log]]:
        path = self._folder / "service.log"
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(path.open("a", encoding="utf-8"))
            written = _Log(path)
            written.new()
            service = self._given
            if service is None:
                files = stack.enter_context(tempfile.TemporaryDirectory(prefix="attack"))
                service = stack.enter_context(start_target(Path(files), log, keyed=keyed))
            yield service, written

    def _judge(self, attack: Attack, mode: Mode, seen: Observation, reference: Reference) -> None:
        found = problems(attack, seen, reference)
        self._add(Result(attack, mode, seen, reference, found))

    def _add(self, result: Result) -> None:
        self.results.append(result)
        name = f"{result.attack.name} ({result.mode.value})"
        seen = result.seen
        self._say(
            f"{name:<40} {seen.sent / 2**20:8.1f} MiB sent, +{seen.service_grown_mib:4.0f} MiB, "
            f"health {seen.health_most_ms:5.0f} ms  {'FAILED' if result.problems else 'held'}"
        )
        for problem in result.problems:
            self._say(f"    {problem}")


def _exit_code(service: Attacked) -> int | None:
    """Wait for the end of a service; return None if it does not come."""
    try:
        return service.process.wait(STOP_S) if service.process is not None else None
    except subprocess.TimeoutExpired:
        return None


class _Log:
    """What the service has written since the last look."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0

    def new(self) -> str:
        """Return what is new."""
        with self._path.open(encoding="utf-8", errors="replace") as file:
            file.seek(self._read)
            text = file.read()
            self._read = file.tell()
        return text


async def _attack(attack: Attack, attacker: Attacker) -> None:
    """Run an attack; that the service breaks its connections is no problem of the service."""
    try:
        await asyncio.wait_for(attack.run(attacker), attacker.left_s + CALM_S)
    except (OSError, EOFError, asyncio.TimeoutError) as error:
        attacker.problems.append(f"the attack ended early: {type(error).__name__}: {error}")


async def _calm(service: Attacked, watch: Watch) -> None:
    """Wait until honest callers are served again, for `CALM_S` at most."""
    until = time.monotonic() + CALM_S
    while time.monotonic() < until and service.alive:
        seen = Observation()
        with watch.observing(seen):
            await asyncio.sleep(1.0)
        if seen.honest["right"] >= 2 and seen.honest["right"] == seen.asked:
            return


async def _restarts(service: Attacked) -> int | None:
    """Return how many workers were started again, None if the admin address does not reply."""
    connection = HttpConnection(service.admin_port)
    try:
        message = HttpMessage("/-/status", b"", method="GET")
        _, body = await connection.exchange(message, CALM_S)
        return sum(int(found["counters"]["restarts"]) for found in json.loads(body)["services"])
    except (NoReplyError, ValueError, KeyError):
        return None
    finally:
        await connection.close()
