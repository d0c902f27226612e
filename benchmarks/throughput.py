"""Requests a second at several connections, beside the limit, in rounds that take turns."""

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
    protocols: tuple[str, ...] = ("http", "rpc")
    batch_size: int = 8
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
    """What a plan gave: images a second of the bare limit, and each (protocol, connections)."""

    limits: list[float]
    batched: list[float]
    measured: dict[tuple[str, int], Measured]
    start_s: float
    memory_mib: float


def run(plan: Plan, console: Console) -> Throughput:
    """Measure `plan`, and print the table.

    A ratio is taken against the limit measured in the same round, before and after.
    """
    limit = BareLimit(
        plan.bundle, plan.images, plan.workers, plan.devices.replace(" ", "").split(",")
    )
    measured = {(p, c): Measured() for p in plan.protocols for c in plan.connections}
    limits: list[float] = []
    batched: list[float] = []
    try:
        with _service(plan) as running, console.status("") as status:
            # The first run in a size is a slow one, as it is for the service, which warms up too.
            limit.measure(1.0)
            limit.measure(1.0, plan.batch_size)
            for number in range(plan.rounds):
                status.update(f"round {number + 1} of {plan.rounds}: the limit")
                limits.append(limit.measure(plan.seconds))
                batched.append(limit.measure(plan.seconds, plan.batch_size))
                for (protocol, connections), result in measured.items():
                    status.update(
                        f"round {number + 1} of {plan.rounds}: {protocol} on {connections}"
                    )
                    outcome = _send(plan, running, protocol, connections, limit.scores)
                    result.outcomes.append(outcome)
                    result.rates.append(outcome.requests_per_s)
            limits.append(limit.measure(plan.seconds))
            memory = running.memory_mib()
        for result in measured.values():
            result.ratios = [
                rate / ((limits[i] + limits[i + 1]) / 2) for i, rate in enumerate(result.rates)
            ]
    finally:
        limit.close()
    result_of_all = Throughput(limits, batched, measured, running.start_s, memory)
    show(plan, result_of_all, console)
    return result_of_all


def show(plan: Plan, throughput: Throughput, console: Console) -> None:
    """Print the table: medians over the rounds."""
    title = f"{plan.service}, {plan.workers} workers, {plan.rounds} rounds of {plan.seconds:g} s"
    table = Table(title=title)
    for name in ("", "conn.", "req/s", "of limit", "p50 ms", "p99 ms", "health ms"):
        table.add_column(name, justify="right" if name else "left", no_wrap=True)
    single = statistics.median(throughput.limits)
    many = statistics.median(throughput.batched)
    table.add_row("limit, one by one", "", f"{single:.1f}", "1.00")
    table.add_row(f"limit, batches of {plan.batch_size}", "", f"{many:.1f}", f"{many / single:.2f}")
    for (protocol, connections), result in throughput.measured.items():
        last = result.outcomes
        table.add_row(
            protocol.upper(),
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
        "processes that only decode, preprocess and predict. Health: slowest answer meanwhile."
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
        port=running.http_port if protocol == "http" else running.rpc_port,
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
