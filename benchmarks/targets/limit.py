"""Part `limit`: the tuned embedded model beside the best bare limit over runtimes and batches."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path

from bundle import load_bundle
from pipeline.predictors.registry import RUNTIMES, readable_form

from ..bare import BareLimit
from .bundles import Copies
from .contender import Contender, Images, Load, Standing, standing
from .target import Target, ratios

PART = "limit"
BATCHES = (1, 2, 4, 8, 16)
WORKERS = 2
# A limit that is further from the best in the first try is not measured again.
_NEAR = 0.8
_TRY_S = 0.7
# Promised part of the limit; at one connection a service has one worker to use.
PROMISED = {
    Load("raw", 16): 0.97,
    Load("rpc", 16): 0.95,
    Load("http", 16): 0.95,
    Load("raw", 4): 0.90,
}
_CROWD = Load("raw", 64)
_SPREAD = 2.5
TITLES = {"raw": "HTTP, raw", "http": "HTTP, JSON", "rpc": "RPC"}

Say = Callable[[str], None]


def measure(
    bundle: Copies, images: Images, work: Path, rounds: int, seconds: float, say: Say
) -> list[Target]:
    """Measure service and limits in turns; a ratio is against the best limit of its round."""
    limits = Limits(bundle.untuned, images, say)
    try:
        with standing([Contender("tuned", bundle.tuned)], work, images) as up:
            return _measure(up["tuned"], limits, images, rounds, seconds, say)
    finally:
        limits.close()


class Limits:
    """The bare predictors of each installed runtime, in the batches that are near the best."""

    def __init__(self, bundle: Path, images: Images, say: Say) -> None:
        self._predictors: dict[str, BareLimit] = {}
        tried: dict[tuple[str, int], float] = {}
        try:
            for backend in _installed(bundle):
                say(f"the limit with {backend}")
                one = BareLimit(bundle, images.files, WORKERS, ("",), backend)
                self._predictors[backend] = one
                for batch in BATCHES:
                    one.measure(_TRY_S, batch)  # the first run in a size is a slow one
                    tried[backend, batch] = one.measure(_TRY_S, batch)
        except BaseException:
            self.close()
            raise
        least = _NEAR * max(tried.values())
        self._near = [name for name, rate in tried.items() if rate >= least]

    def measure(self, seconds: float) -> float:
        """Return the images a second of the best, each measured for `seconds` / their number."""
        turn = max(_TRY_S, seconds / len(self._near))
        return max(self._predictors[name].measure(turn, batch) for name, batch in self._near)

    def close(self) -> None:
        """End their processes."""
        for predictor in self._predictors.values():
            predictor.close()


def _installed(bundle: Path) -> list[str]:
    """Return the runtimes that can serve the bundle here."""
    loaded = load_bundle(bundle)
    able = (row for row in RUNTIMES.values() if "cpu" in row.devices and row.installed())
    return [row.name for row in able if readable_form(row, loaded)]


def _measure(
    tuned: Standing, limits: Limits, images: Images, rounds: int, seconds: float, say: Say
) -> list[Target]:
    loads = [*PROMISED, _CROWD]
    rates: dict[Load, list[float]] = {load: [] for load in loads}
    best = [limits.measure(seconds)]
    spread: list[float] = []
    lost = 0
    for number in range(rounds):
        for load in loads:
            say(f"round {number + 1} of {rounds}: {load.protocol} on {load.connections}")
            outcome = tuned.send(load, images, seconds)
            rates[load].append(outcome.requests_per_s)
            lost += outcome.wrong + outcome.failed
            if load == _CROWD:
                spread.append(outcome.latency_p99_ms / max(1e-3, outcome.latency_p50_ms))
        best.append(limits.measure(seconds))
    around = [statistics.mean(best[i : i + 2]) for i in range(rounds)]
    found = [
        Target(PART, _title(load), bound, ratios(rates[load], around))
        for load, bound in PROMISED.items()
    ]
    crowd = f"{_CROWD.connections} connections"
    found.append(
        Target(PART, f"{crowd}: p99 over p50", _SPREAD, tuple(spread), at_most=True),
    )
    found.append(Target(PART, "wrong or lost replies", 0, (float(lost),), at_most=True))
    return found


def _title(load: Load) -> str:
    protocol, connections = TITLES[load.protocol], load.connections
    return f"tuned, {protocol}, {connections} connections, of the best bare limit"
