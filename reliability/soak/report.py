"""The report of a soak: tables for people, JSON for programs, and the problems."""

from __future__ import annotations

import platform
import statistics
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from .judge import Verdict
from .tally import Tally
from .timeline import Timeline
from .watch import Size, Watch, slope_a_minute

# Descriptors that may be open by chance when they are counted: three of a worker, a connection.
SPARE_DESCRIPTORS = 8
# How much the service process may grow between the warm-up and the end, both without load. Heaps
# fragment, and reloads leave some memory; the bodies of one minute, if they leaked, would be more.
SPARE_MIB = 64.0
# On a busy processor a process may wait some hundreds of milliseconds, the probe as well as the
# service: a few replies may be late without a fault.
HEALTH_LATE_MS = 500.0
HEALTH_LATE_SHARE, HEALTH_LATE_FEW = 0.01, 3
# No such wait is this long: the service has stood still. The check of a container
# (client/health.py) gives up after this time.
HEALTH_LIMIT_MS = 4000.0


@dataclass
class Report:
    """Everything that is known at the end; `start` and `end` are sizes at rest, without load."""

    seconds: float
    seed: int
    tally: Tally
    timeline: Timeline
    watch: Watch
    start: Size
    end: Size
    counters: dict[str, dict[str, int]]
    complaints: list[str]
    exit_code: int = 0
    traces: int = 0  # stack traces in the service's log: errors that the code does not expect

    @property
    def problems(self) -> list[str]:
        """The faults of the service, each in a line; none if the soak passed."""
        problems = [f"{n} requests: {v.value}" for v, n in self._bad_verdicts()]
        problems += self.tally.examples
        problems += self.complaints
        grown = self.end.descriptors - self.start.descriptors
        if grown > SPARE_DESCRIPTORS:
            problems.append(f"{grown} file descriptors were not given back")
        grown_mib = self.end.service_mib - self.start.service_mib
        if grown_mib > SPARE_MIB:
            problems.append(
                f"the service process grew by {grown_mib:.0f} MiB; {SPARE_MIB:.0f} are its bound"
            )
        problems += self._health_problems()
        if self.traces:
            problems.append(f"{self.traces} stack traces are in the service's log")
        if self.exit_code:
            problems.append(f"the service ended with exit code {self.exit_code}")
        return problems

    def _health_problems(self) -> list[str]:
        problems = []
        if self.watch.health_missed:
            problems.append(f"health did not answer: {self.watch.health_missed[0]}")
        taken_ms = self.watch.health_ms
        late = sum(ms > HEALTH_LATE_MS for ms in taken_ms)
        if late > max(HEALTH_LATE_FEW, HEALTH_LATE_SHARE * len(taken_ms)):
            problems.append(
                f"{late} of {len(taken_ms)} answers to health took over {HEALTH_LATE_MS:.0f} ms"
            )
        most = max(taken_ms, default=0.0)
        if most > HEALTH_LIMIT_MS:
            problems.append(
                f"an answer to health took {most:.0f} ms; {HEALTH_LIMIT_MS:.0f} at most"
            )
        return problems

    def _bad_verdicts(self) -> list[tuple[Verdict, int]]:
        counted = self.tally.verdicts
        return [(v, counted[v]) for v in Verdict if not v.good and counted[v]]

    def show(self, console: Console) -> None:
        """Print the tables."""
        verdicts, tally = self.tally.verdicts, self.tally
        table = Table("requests", "number", box=None, pad_edge=False, header_style="bold")
        table.columns[1].justify = "right"
        table.add_row("sent", str(tally.sent))
        for verdict in Verdict:
            bad = not verdict.good and verdicts[verdict]
            number = f"[red]{verdicts[verdict]}[/]" if bad else str(verdicts[verdict])
            table.add_row(f"  {verdict.value}", number)
            if verdict is Verdict.RIGHT_ERROR:
                for error, count in tally.errors.most_common():
                    table.add_row(f"      {error}", str(count))
        console.print(table)
        console.print()
        console.print(self._events())
        console.print()
        console.print(self._measures())
        for problem in self.problems:
            console.print(f"[red]{problem}[/]", soft_wrap=True)

    def _events(self) -> Table:
        table = Table(
            "what was done", "times", "at full strength after (median, most)",
            box=None, pad_edge=False, header_style="bold",
        )  # fmt: skip
        for kind, count in sorted(self.timeline.counts().items()):
            taken = self.timeline.recoveries_s.get(kind)
            recovery = f"{statistics.median(taken):.1f} s, {max(taken):.1f} s" if taken else ""
            table.add_row(kind, str(count), recovery)
        return table

    def _measures(self) -> Table:
        table = Table(box=None, pad_edge=False, show_header=False)
        health = sorted(self.watch.health_ms) or [0.0]
        within = sum(ms <= 50 for ms in health) / len(health)
        table.add_row(
            "health",
            f"{len(health)} asked, {100 * within:.1f} % within 50 ms, "
            f"median {statistics.median(health):.1f} ms, most {health[-1]:.0f} ms",
        )
        table.add_row(
            "memory, service",
            f"{self.start.service_mib:.0f} MiB before, {self.end.service_mib:.0f} after "
            f"(at most {SPARE_MIB:.0f} more); "
            f"{self.slope:+.2f} a minute over the second half",
        )
        table.add_row(
            "memory, workers",
            f"{self.start.workers_mib:.0f} MiB before, {self.end.workers_mib:.0f} after",
        )
        table.add_row(
            "file descriptors", f"{self.start.descriptors} before, {self.end.descriptors} after"
        )
        restarts = sum(counters["restarts"] for counters in self.counters.values())
        retried = sum(counters["retried"] for counters in self.counters.values())
        table.add_row("workers started again", str(restarts))
        table.add_row("images tried again", str(retried))
        return table

    @property
    def slope(self) -> float:
        """MiB a minute by which the service process grew, over the second half of the load."""
        under_load = self.watch.sizes[:-1]
        return slope_a_minute(under_load[len(under_load) // 2 :])

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        return {
            "machine": platform.platform(),
            "seconds": round(self.seconds, 1),
            "seed": self.seed,
            "requests": {v.name.lower(): self.tally.verdicts[v] for v in Verdict},
            "sent": self.tally.sent,
            "pictures": self.tally.images,
            "asked": dict(self.tally.kinds),
            "right_errors": dict(self.tally.errors),
            "events": dict(self.timeline.counts()),
            "recoveries_s": self.timeline.recoveries_s,
            "health_ms": {
                "asked": len(self.watch.health_ms),
                "within_50": sum(ms <= 50 for ms in self.watch.health_ms),
                "late": sum(ms > HEALTH_LATE_MS for ms in self.watch.health_ms),
                "most": max(self.watch.health_ms, default=0.0),
            },
            "before": asdict(self.start),
            "after": asdict(self.end),
            "slope_mib_a_minute": self.slope,
            "counters": self.counters,
            "stack_traces": self.traces,
            "problems": self.problems,
        }
