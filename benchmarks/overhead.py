"""What the service adds to the classifier at one connection, and where.

The same images are classified in process, and by a service of one worker over each wire. They take
turns of a few images, so that a slow minute hits all alike. Latencies are compared by their median
and their lowest tenth; computing time of the service process and of its worker is a second measure,
which waiting for a core does not change.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console
from rich.table import Table

from pipeline.engine.family import family

from .bare import ROOT, one_thread_environment
from .load import Checker
from .service import RunningService, run_service
from .wires import Wire, wires

_WARM_UP = 20
# Stations that the service measures itself, from its front to the model.
STATIONS = {
    "request": "serving_request_duration_seconds_sum",
    "queue": "serving_queue_wait_seconds_sum",
    "decode": "serving_decode_duration_seconds_sum",
    "predict": "serving_predict_duration_seconds_sum",
}


@dataclass(frozen=True)
class Plan:
    """What to measure, in `rounds` rounds; in each of them every way sends `images_a_turn`."""

    config: Path
    bundle: Path
    service: str
    images: list[Path]
    rounds: int = 50
    images_a_turn: int = 10
    overrides: tuple[str, ...] = ()


@dataclass
class Way:
    """What was measured of one way: milliseconds of each image, and sums over all images."""

    ms: list[float] = field(default_factory=list)
    idle_ms: list[float] = field(default_factory=list)  # of round trips without work
    service_cpu_s: float = 0.0
    worker_cpu_s: float = 0.0
    stations_s: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STATIONS, 0.0))
    wrong: int = 0

    @property
    def median_ms(self) -> float:
        """The median."""
        return statistics.median(self.ms)

    @property
    def tenth_ms(self) -> float:
        """A tenth of the images took less."""
        return sorted(self.ms)[len(self.ms) // 10]

    def per_image_ms(self, seconds: float) -> float:
        """Return a sum over all images as milliseconds of each."""
        return 1e3 * seconds / max(1, len(self.ms))


def run(plan: Plan, console: Console) -> dict[str, Way]:
    """Measure `plan`, print the table, and return each way by its name; "" is in process."""
    command = [sys.executable, "-m", "benchmarks.in_process", str(plan.bundle)]
    alone = subprocess.Popen(
        [*command, *map(str, plan.images)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=one_thread_environment(),
    )
    try:
        scores: list[list[float]] = _line(alone)
        with (
            tempfile.TemporaryFile("w") as log,
            run_service(plan.config, _overrides(plan), log) as running,
        ):
            ways = _measure(plan, running, scores, alone, console)
    finally:
        alone.kill()
        alone.communicate()
    show(plan, ways, console)
    return ways


def _overrides(plan: Plan) -> tuple[str, ...]:
    conf = f"op.{plan.service}.local_service_conf"
    return (
        f"op.{plan.service}.concurrency=1",
        f"{conf}.model_config={plan.bundle}",
        f"{conf}.thread_num=1",
        *plan.overrides,
    )


def _measure(
    plan: Plan,
    running: RunningService,
    scores: list[list[float]],
    alone: subprocess.Popen[str],
    console: Console,
) -> dict[str, Way]:
    connections = wires(running, plan.service, [path.read_bytes() for path in plan.images])
    checkers = {wire.name: Checker(scores, wire.read, 1e-4) for wire in connections}
    ways = {"": Way(), **{wire.name: Way() for wire in connections}}
    for wire in connections:
        _turn(Way(), wire, checkers[wire.name], running, range(_WARM_UP))
    with console.status("") as status:
        for number in range(plan.rounds):
            status.update(f"round {number + 1} of {plan.rounds}")
            turn = range(number * plan.images_a_turn, (number + 1) * plan.images_a_turn)
            began_s = _cpu_s(alone.pid)
            print(plan.images_a_turn, file=alone.stdin, flush=True)
            ways[""].ms += _line(alone)
            ways[""].worker_cpu_s += _cpu_s(alone.pid) - began_s
            for wire in connections:
                _turn(ways[wire.name], wire, checkers[wire.name], running, turn)
    for wire in connections:
        wire.close()
    return ways


def _turn(way: Way, wire: Wire, checker: Checker, running: RunningService, numbers: range) -> None:
    service, *workers = family(running.process_id)
    before = _stations(running, wire.protocol)
    service_s, worker_s = _cpu_s(service), sum(map(_cpu_s, workers))
    bodies = []
    for number in numbers:
        image = number % checker.images
        milliseconds, body = _timed(lambda image=image: wire.send(image))  # type: ignore[misc]
        way.ms.append(milliseconds)
        bodies.append((image, body))
    way.service_cpu_s += _cpu_s(service) - service_s
    way.worker_cpu_s += sum(map(_cpu_s, workers)) - worker_s
    after = _stations(running, wire.protocol)
    for station in STATIONS:
        way.stations_s[station] += after[station] - before[station]
    way.idle_ms += [_timed(wire.idle)[0] for _ in numbers]
    way.wrong += sum(not checker.right(image, body) for image, body in bodies)


def _timed(call: Callable[[], bytes]) -> tuple[float, bytes]:
    began = time.perf_counter()
    body = call()
    return 1e3 * (time.perf_counter() - began), body


def _cpu_s(process_id: int) -> float:
    """Return the computing time of a process; the clock is as clock_getcpuclockid(3) makes it."""
    return time.clock_gettime((~process_id << 3) | 2)


def _stations(running: RunningService, protocol: str) -> Mapping[str, float]:
    """Return the seconds that the service has measured so far, by station."""
    url = f"http://127.0.0.1:{running.admin_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as response:
        families = text_string_to_metric_families(response.read().decode())
        samples = [sample for found in families for sample in found.samples]
    return {
        station: sum(
            sample.value
            for sample in samples
            if sample.name == name and sample.labels.get("protocol", protocol) == protocol
        )
        for station, name in STATIONS.items()
    }


def show(plan: Plan, ways: Mapping[str, Way], console: Console) -> None:
    """Print what each way took, and what it takes more than the classifier in process."""
    images = plan.rounds * plan.images_a_turn
    table = Table(title=f"{plan.service}, one connection, one worker, {images} images each, ms")
    for name in ("", "p50", "p10", "p50 +", "p10 +", "idle", "CPU", "worker"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    alone = ways[""]
    for name, way in ways.items():
        row = [name or "in process", f"{way.median_ms:.2f}", f"{way.tenth_ms:.2f}"]
        row += [""] * 4
        if name:
            row[3:] = [
                f"{way.median_ms - alone.median_ms:.2f}",
                f"{way.tenth_ms - alone.tenth_ms:.2f}",
                f"{statistics.median(way.idle_ms):.2f}",
                f"{way.per_image_ms(way.service_cpu_s):.2f}",
            ]
        row.append(f"{way.per_image_ms(way.worker_cpu_s):.2f}")
        table.add_row(*row)
    console.print(table)
    console.print(_stations_table(ways))
    wrong = sum(way.wrong for way in ways.values())
    console.print(
        f"Every answer was checked: {wrong} wrong. p10: a tenth took less. +: beside the "
        "classifier in process. idle: a call of health on the same connection; its client "
        "and its sockets are in every figure. CPU: computing time an image, of the service process "
        "and of its worker."
    )


def _stations_table(ways: Mapping[str, Way]) -> Table:
    table = Table(title="means by station, as the service measures them, ms")
    for name in ("", "client", "request", "queue", "decode", "predict", "between"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    for name, way in ways.items():
        if not name:
            continue
        request, queue, decode, predict = (
            way.per_image_ms(way.stations_s[station]) for station in STATIONS
        )
        client = statistics.fmean(way.ms)
        between = request - queue - decode - predict
        figures = (client, request, queue, decode, predict, between)
        table.add_row(name, *(f"{figure:.2f}" for figure in figures))
    return table


def _line(process: subprocess.Popen[str]) -> Any:  # noqa: ANN401 - JSON
    line = next(iter(process.stdout or ()), "")
    if not line:
        raise SystemExit("error: the process of the classifier ended; see its message above")
    return json.loads(line)
