"""Measures a deployment: requests a second, latency, memory, start."""

from __future__ import annotations

import io
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from benchmarks.throughput import Plan, run
from bundle import load_bundle

from .deployment import Deployment
from .trying import serving

WORKERS = 2
CONNECTIONS = (1, 16)


@dataclass(frozen=True)
class Figures:
    """Measured on one machine at one time: compare rows, not numbers from other machines.

    `single` and `limit` are images a second of two bare predictors, one by one and in batches of
    the service's size; rates
    are requests a second, one image each, at 16 connections; latencies in ms, `alone_ms` with one
    connection; memory in MiB with two workers; `start_s` from the start until ready.
    """

    single: float
    limit: float
    http: float
    rpc: float
    alone_ms: float
    p50_ms: float
    p99_ms: float
    memory_mib: float
    bundle_mib: float
    start_s: float
    wrong: int


def measure(
    deployment: Deployment, bundle: Path, images: Sequence[Path], *, seconds: float, rounds: int
) -> Figures:
    """Load the service in rounds that take turns with the bare predictor.

    The export itself is measured, in the runtime that reads it, and not its ONNX form.
    """
    backend = "paddle" if load_bundle(bundle).graph_format.paddle else "onnxruntime"
    heavy = bundle_mib(bundle) > 100
    plan = Plan(
        config=deployment.config,
        bundle=bundle,
        service=deployment.name,
        images=list(images),
        workers=WORKERS,
        protocols=("http", "rpc"),
        batches=(1, Plan.batch_size),
        rounds=rounds,
        # Long enough for several replies on each of sixteen connections.
        seconds=2 * seconds if heavy else seconds,
        connections=CONNECTIONS,
        batch_size=4 if heavy else 8,
        backends=(backend,),
        overrides=(
            f"op.{deployment.name}.local_service_conf.backend={backend}",
            *serving(deployment, bundle),
            f"op.{deployment.name}.threshold=0",
            f"op.{deployment.name}.timeout=60000",
        ),
    )
    result = run(plan, Console(file=io.StringIO()))
    single, batched = (result.bare[plan.backends[0], batch] for batch in plan.batches)
    http, rpc = result.measured["http", 16], result.measured["rpc", 16]
    alone = result.measured["http", 1]
    everything = [outcome for one in result.measured.values() for outcome in one.outcomes]
    return Figures(
        single=statistics.median(single),
        limit=statistics.median(batched),
        http=statistics.median(http.rates),
        rpc=statistics.median(rpc.rates),
        alone_ms=statistics.median(o.latency_p50_ms for o in alone.outcomes),
        p50_ms=statistics.median(o.latency_p50_ms for o in http.outcomes),
        p99_ms=statistics.median(o.latency_p99_ms for o in http.outcomes),
        memory_mib=result.memory_mib,
        bundle_mib=bundle_mib(bundle),
        start_s=result.start_s,
        wrong=sum(o.wrong + o.failed for o in everything),
    )


def bundle_mib(bundle: Path) -> float:
    """Return the size of all files of a bundle in MiB."""
    return sum(path.stat().st_size for path in bundle.rglob("*") if path.is_file()) / 2**20
