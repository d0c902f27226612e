"""Requests a second at several connections, beside the best limit, in rounds that take turns."""

from __future__ import annotations

import contextlib
import json
import statistics
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from .bare import ROOT, BareLimit
from .load import Order, Outcome
from .service import HOST, RunningService, run_service

_TITLES = {"raw": "HTTP, raw", "http": "HTTP, JSON", "rpc": "RPC"}
_TF32 = 2e-3  # of a score: GPUs multiply float32 with a mantissa of ten bits


@dataclass(frozen=True)
class Plan:
    """What to measure; one round runs every scenario once, so that a slow minute hits all alike."""

    config: Path
    bundle: Path
    service: str
    images: list[Path]
    workers: int = 2
    rounds: int = 3
    seconds: float = 6.0
    connections: tuple[int, ...] = (1, 4, 16)
    protocols: tuple[str, ...] = ("raw", "http", "rpc")
    batch_size: int = 8
    batches: tuple[int, ...] = (1, 2, 4, 8, 16)  # of the limit
    backends: tuple[str, ...] = ("auto",)  # of the limit
    overrides: tuple[str, ...] = ()
    devices: str = ""  # numbers of GPUs, "0,1", that the workers share; "" is the CPU


@dataclass
class Measured:
    """All rounds of one scenario."""

    rates: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)


@dataclass
class Throughput:
    """What a plan gave.

    `bare` has the images a second of the limit in each round, by (backend, batch), `measured` each
    (protocol, connections).
    """

    bare: dict[tuple[str, int], list[float]]
    measured: dict[tuple[str, int], Measured]
    start_s: float
    memory_mib: float

    @property
    def best(self) -> tuple[str, int]:
        """The backend and the batch of the best bare limit."""
        return max(self.bare, key=lambda name: statistics.median(self.bare[name]))

    def set_ratios(self) -> None:
        """Compare each rate with the best limit in the same round, and at its end."""
        limits = self.bare[self.best]
        for result in self.measured.values():
            result.ratios = [
                rate / statistics.mean(limits[i : i + 2]) for i, rate in enumerate(result.rates)
            ]


class _Limits:
    """The bare predictors of a plan; `bare` has what they did so far."""

    def __init__(self, plan: Plan) -> None:
        devices = plan.devices.replace(" ", "").split(",")
        self._seconds = plan.seconds
        self._predictors: dict[str, BareLimit] = {}
        self.bare: dict[tuple[str, int], list[float]] = {}
        try:
            for backend in plan.backends:
                self._predictors[backend] = BareLimit(
                    plan.bundle, plan.images, plan.workers, devices, backend
                )
        except BaseException:
            self.close()
            raise
        for backend, predictor in self._predictors.items():
            for batch in plan.batches:
                # The first run in a size is a slow one, as it is for the service, which warms up.
                predictor.measure(0.5, batch)
                self.bare[backend, batch] = []

    @property
    def scores(self) -> list[list[float]]:
        """The scores of each image."""
        return next(iter(self._predictors.values())).scores

    def measure(self) -> None:
        """Measure each of them once."""
        for (backend, batch), rates in self.bare.items():
            rates.append(self._predictors[backend].measure(self._seconds, batch))

    def close(self) -> None:
        for predictor in self._predictors.values():
            predictor.close()


def run(plan: Plan, console: Console) -> Throughput:
    """Measure `plan`, and print the table.

    A ratio is taken against the best limit, measured in the same round, before and after.
    """
    measured = {(p, c): Measured() for p in plan.protocols for c in plan.connections}
    limits = _Limits(plan)
    try:
        with _service(plan) as running, console.status("") as status:
            for number in range(plan.rounds):
                status.update(f"round {number + 1} of {plan.rounds}: the limit")
                limits.measure()
                for (protocol, connections), result in measured.items():
                    status.update(
                        f"round {number + 1} of {plan.rounds}: {protocol} on {connections}"
                    )
                    outcome = _send(plan, running, protocol, connections, limits.scores)
                    result.outcomes.append(outcome)
                    result.rates.append(outcome.requests_per_s)
            limits.measure()
            memory = running.memory_mib()
    finally:
        limits.close()
    throughput = Throughput(limits.bare, measured, running.start_s, memory)
    throughput.set_ratios()
    show(plan, throughput, console)
    return throughput


def show(plan: Plan, throughput: Throughput, console: Console) -> None:
    """Print the table: medians over the rounds."""
    title = f"{plan.service}, {plan.workers} workers, {plan.rounds} rounds of {plan.seconds:g} s"
    table = Table(title=title)
    for name in ("", "conn.", "req/s", "of limit", "p50 ms", "p99 ms", "health ms"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    medians = {name: statistics.median(rates) for name, rates in throughput.bare.items()}
    best = medians[throughput.best]
    for (backend, batch), rate in medians.items():
        how = "one by one" if batch == 1 else f"batches of {batch}"
        name = how if len(plan.backends) == 1 else f"{backend}, {how}"
        table.add_row(f"limit, {name}", "", f"{rate:.1f}", f"{rate / best:.2f}")
    for (protocol, connections), result in throughput.measured.items():
        last = result.outcomes
        table.add_row(
            _TITLES[protocol],
            str(connections),
            f"{statistics.median(result.rates):.1f}",
            f"{statistics.median(result.ratios):.2f}",
            f"{statistics.median(o.latency_p50_ms for o in last):.1f}",
            f"{statistics.median(o.latency_p99_ms for o in last):.1f}",
            f"{max(o.health_max_ms for o in last):.1f}",
        )
    console.print(table)
    outcomes = [outcome for result in throughput.measured.values() for outcome in result.outcomes]
    wrong, failed = sum(o.wrong for o in outcomes), sum(o.failed for o in outcomes)
    console.print(
        f"Every answer was checked: {wrong} wrong, {failed} failed. The limit: {plan.workers} "
        "processes that only decode, preprocess and predict; the best of them is 1.00. Health: "
        "slowest answer meanwhile."
    )
    for error in {error for outcome in outcomes for error in outcome.errors}:
        console.print(f"  {error}")


def _service(plan: Plan) -> contextlib.AbstractContextManager[RunningService]:
    op = f"op.{plan.service}"
    overrides = (
        f"{op}.concurrency={plan.workers}",
        f"{op}.batch_size={plan.batch_size}",
        f"{op}.local_service_conf.thread_num=1",
        f"{op}.local_service_conf.devices={plan.devices}",
        *plan.overrides,
    )
    return run_service(plan.config, overrides)


def _send(
    plan: Plan,
    running: RunningService,
    protocol: str,
    connections: int,
    scores: list[list[float]],
) -> Outcome:
    order = Order(
        protocol=protocol,
        host=HOST,
        port=running.rpc_port if protocol == "rpc" else running.http_port,
        http_port=running.http_port,
        service=plan.service,
        connections=connections,
        seconds=plan.seconds,
        images=[str(image) for image in plan.images],
        scores=scores,
        tolerance=_TF32 if plan.devices else Order.tolerance,
    )
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        cwd=ROOT,
        input=json.dumps(asdict(order)),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"error: the load generator failed:\n{done.stderr}")
    return Outcome(**json.loads(done.stdout))
