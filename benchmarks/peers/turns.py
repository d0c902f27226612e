"""The measurements: all services of one model and runtime up at once, each in its turn.

Those that wait are stopped (SIGSTOP), so each has the machine for itself, and a turn of all of them
is over in seconds: a slow minute hits all alike.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from rich.console import Console

from ..bare import ROOT
from ..load import Order, Outcome
from ..service import HOST
from .choosing import Chosen
from .models import Model, ModelError
from .peer import Peer, PeerError, Setting
from .records import Record, Records
from .running import Running, start_peer

WARM_S = 1.0
WARM_CONNECTIONS = 16
# For the replies to the last requests.
GRACE_S = 120.0


@dataclass(frozen=True)
class Subject:
    """A model with its images and their right scores."""

    model: Model
    images: list[Path]
    scores: list[list[float]]


@dataclass(frozen=True)
class Plan:
    """What to measure; `work` keeps files of the running services."""

    peers: tuple[Peer, ...]
    runtimes: tuple[str, ...]
    connections: tuple[int, ...]
    rounds: int
    seconds: float
    workers: int
    work: Path
    tune: bool = True
    tune_seconds: float = 2.0

    def steps(self, peer: Peer, runtime: str) -> bool:
        """Whether the peer predicts with this runtime."""
        return runtime in peer.runtimes


def measure(
    plan: Plan, subject: Subject, runtime: str, records: Records, chosen: Chosen, console: Console
) -> None:
    """Measure one model in one runtime, and add the records."""
    turns = [(number, count) for number in range(plan.rounds) for count in plan.connections]
    peers = [peer for peer in plan.peers if plan.steps(peer, runtime)]
    todo = [
        (number, count)
        for number, count in turns
        if not records.has((subject.model.name, runtime, number, count))
    ]
    if not todo:
        return
    up = _up(plan, subject, runtime, peers, chosen, console)
    with up as (running, reasons), console.status("") as status:
        for done, (number, count) in enumerate(todo):
            for name, one in running.items():
                status.update(
                    f"{subject.model.name}, {runtime}: {name} on {count} connections "
                    f"(turn {done + 1} of {len(todo)})"
                )
                base = Record(subject.model.name, runtime, name, count, number)
                records.add(_record(base, one, subject, plan.seconds, count))
            for name, reason in reasons.items():
                base = Record(subject.model.name, runtime, name, count, number)
                records.add(replace(base, reason=reason))


@contextlib.contextmanager
def _up(
    plan: Plan,
    subject: Subject,
    runtime: str,
    peers: Sequence[Peer],
    chosen: Chosen,
    console: Console,
) -> Iterator[tuple[dict[str, Running], dict[str, str]]]:
    """Start and warm all of them; those that fail come back as reasons."""
    running: dict[str, Running] = {}
    reasons: dict[str, str] = {}
    try:
        for peer in peers:
            try:
                setting = _setting(plan, subject, runtime, peer, chosen, console)
                with console.status(f"{subject.model.name}, {runtime}: starting {peer.name}"):
                    one = start_peer(peer, subject.model, runtime, plan.workers, setting, plan.work)
                    running[peer.name] = one
                    load(one, subject, WARM_S, WARM_CONNECTIONS)
                    one.pause()
            except (PeerError, ModelError) as error:
                reasons[peer.name] = str(error)
                console.print(f"{peer.title.strip('*')}, {runtime}: {error}")
                if peer.name in running:
                    running.pop(peer.name).close()
        yield running, reasons
    finally:
        for one in running.values():
            one.close()


def _setting(
    plan: Plan,
    subject: Subject,
    runtime: str,
    peer: Peer,
    chosen: Chosen,
    console: Console,
) -> Setting:
    """Return the best of the peer's settings; measured once, then kept."""
    if not plan.tune or len(peer.settings) == 1:
        return peer.settings[-1]
    if setting := chosen.get(subject.model.name, runtime, peer.name):
        return setting
    tried: dict[Setting, float] = {}
    for setting in peer.settings:
        with console.status(f"{subject.model.name}, {runtime}: trying {peer.name}, {setting}"):
            one = start_peer(peer, subject.model, runtime, plan.workers, setting, plan.work)
            try:
                load(one, subject, WARM_S, WARM_CONNECTIONS)
                tried[setting] = _worth(one, subject, plan)
            finally:
                one.close()
    best = max(tried, key=lambda setting: tried[setting])
    shown = ", ".join(f"{setting}: {worth:.0f}/s" for setting, worth in tried.items())
    console.print(f"{peer.title}, {runtime}: {best} of ({shown})")
    chosen.put(subject.model.name, runtime, peer.name, best, tried)
    return best


def _worth(running: Running, subject: Subject, plan: Plan) -> float:
    """Return the geometric mean of its rates over the numbers of connections."""
    product = 1.0
    for count in plan.connections:
        product *= max(0.01, load(running, subject, plan.tune_seconds, count).requests_per_s)
    return float(product ** (1 / len(plan.connections)))


def _record(base: Record, running: Running, subject: Subject, seconds: float, count: int) -> Record:
    running.resume()
    try:
        outcome = load(running, subject, seconds, count)
        memory = running.memory_mib()
    except PeerError as error:
        return replace(base, reason=str(error))
    finally:
        running.pause()
    reason = outcome.errors[-1] if outcome.failed and outcome.errors else ""
    return replace(
        base,
        requests_per_s=outcome.requests_per_s,
        p50_ms=outcome.latency_p50_ms,
        p99_ms=outcome.latency_p99_ms,
        wrong=outcome.wrong,
        failed=outcome.failed,
        difference=outcome.difference,
        memory_mib=memory,
        version=version_of(running.peer),
        setting="" if len(running.peer.settings) == 1 else str(running.setting),
        reason=reason[:200],
    )


def load(running: Running, subject: Subject, seconds: float, connections: int) -> Outcome:
    """Send images to a running service and return what was measured.

    Raises:
        PeerError: the load could not be sent, or no end came.
    """
    peer = running.peer
    order = Order(
        protocol=peer.form,
        host=HOST,
        port=running.port,
        http_port=0,
        service="",
        connections=connections,
        seconds=seconds,
        images=[str(image) for image in subject.images],
        scores=subject.scores,
        tolerance=peer.tolerance,
        path=peer.path,
        labels=subject.model.labels(),
    )
    try:
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.load"],
            cwd=ROOT,
            input=json.dumps(asdict(order)),
            capture_output=True,
            text=True,
            check=False,
            timeout=seconds + GRACE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise PeerError(f"owed replies {GRACE_S:.0f} s after the load had ended") from error
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise PeerError(f"the load could not be sent: {last[0]}")
    return Outcome(**json.loads(done.stdout))


_VERSIONS: dict[str, str] = {}


def version_of(peer: Peer) -> str:
    """Return the version of a peer in its environment; "" if it is our own or not known."""
    if peer.own or not peer.package:
        return ""
    if peer.name not in _VERSIONS:
        code = f"import importlib.metadata as m; print(m.version({peer.package!r}))"
        done = subprocess.run(
            [str(peer.python), "-c", code], capture_output=True, text=True, check=False
        )
        _VERSIONS[peer.name] = done.stdout.strip()
    return _VERSIONS[peer.name]


def failures(records: Sequence[Record], peers: Mapping[str, Peer]) -> list[str]:
    """Return a line for each wrong or missing reply of this kit's own service."""
    return [
        f"{r.peer}, {r.model}, {r.runtime}, {r.connections} connections: "
        f"{r.wrong} wrong, {r.failed} failed {r.reason}".rstrip()
        for r in records
        if r.peer in peers and peers[r.peer].own and (r.wrong or r.failed or r.reason)
    ]
