"""The table of an attack for people, and JSON for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from .attacker import Attack
from .judge import Reference, memory_bound_mib
from .measure import Observation
from .target import Mode

COLUMNS = (
    "attack", "caller", "sent", "memory", "workers", "CPU", "CPU a MiB", "health", "honest",
    "verdict",
)  # fmt: skip


@dataclass(frozen=True)
class Result:
    """One attack of one caller, and what did not hold."""

    attack: Attack
    mode: Mode
    seen: Observation
    reference: Reference | None
    problems: list[str]

    def cells(self) -> tuple[str, ...]:
        """Return the row of the table."""
        seen, attack = self.seen, self.attack
        bound = memory_bound_mib(attack)
        return (
            attack.name,
            self.mode.value,
            _bytes(seen.sent),
            f"+{seen.service_grown_mib:.0f} of {bound:.0f} MiB",
            f"+{seen.workers_grown_mib:.0f} MiB",
            f"{100 * seen.service_s / max(seen.seconds, 1e-9):.0f} %",
            "" if self.cost is None else f"{self.cost:.1f} x",
            f"{seen.health_most_ms:.0f} ms",
            f"{seen.honest['right']} right, {seen.honest['refused']} refused, "
            f"{seen.honest['late'] + seen.honest['lost']} lost; {seen.honest_median_ms:.0f} ms",
            "FAILED" if self.problems else "held",
        )

    @property
    def cost(self) -> float | None:
        """How many times the processor seconds a byte of harmless traffic it costs, if compared."""
        if self.reference is None or not self.attack.like:
            return None
        harmless = self.reference.cost(self.reference.kinds[self.attack.like])
        return self.reference.cost(self.seen) / max(harmless, 1e-9)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, JSON-able."""
        return {
            "attack": self.attack.name,
            "number": self.attack.number,
            "wire": self.attack.wire,
            "caller": self.mode.value,
            "must": self.attack.must,
            "memory_bound_mib": memory_bound_mib(self.attack),
            "seen": self.seen.to_json(),
            "cost_ratio": self.cost,
            "problems": self.problems,
        }


def _bytes(count: int) -> str:
    return f"{count / 2**20:.1f} MiB" if count >= 2**20 / 10 else f"{count / 1024:.0f} KiB"


def show(results: list[Result], console: Console) -> None:
    """Print the table, and what did not hold."""
    table = Table(*COLUMNS, box=None, pad_edge=False, header_style="bold")
    for result in results:
        style = "red" if result.problems else None
        table.add_row(*result.cells(), style=style)
    console.print(table)
    for result in results:
        for problem in result.problems:
            console.print(
                f"[red]{result.attack.name} ({result.mode.value})[/]: {problem}", soft_wrap=True
            )


GUIDE = ("attack", "sent", "memory grew, of", "cost", "health", "honest callers; median", "verdict")


def markdown(results: list[Result]) -> str:
    """Return the table for a guide: a row for each attack, with the worst of its callers."""
    lines = ["| " + " | ".join(GUIDE) + " |", "|" + "---|" * len(GUIDE)]
    for name in dict.fromkeys(result.attack.name for result in results):
        lines.append("| " + " | ".join(_row([r for r in results if r.attack.name == name])) + " |")
    return "\n".join(lines) + "\n"


def _row(of_one: list[Result]) -> tuple[str, ...]:
    attack = of_one[0].attack
    honest = sum((result.seen.honest for result in of_one), Counter[str]())
    failed = [result.mode.value for result in of_one if result.problems]
    costs = [result.cost for result in of_one if result.cost is not None]
    judged = bool(honest)  # nobody else is served by a service that stops
    return (
        f"`{attack.name}`",
        _bytes(sum(result.seen.sent for result in of_one)),
        f"{max(result.seen.service_grown_mib for result in of_one):.0f}, "
        f"{memory_bound_mib(attack):.0f} MiB" if judged else "",
        f"{max(costs):.1f} x" if costs else "",
        f"{max(result.seen.health_most_ms for result in of_one):.0f} ms" if judged else "",
        f"{honest['right']} right, {honest['refused']} refused, "
        f"{honest['late'] + honest['lost']} lost; "
        f"{max(result.seen.honest_median_ms for result in of_one):.0f} ms" if judged else "",
        f"failed: {', '.join(failed)}" if failed else "held",
    )  # fmt: skip
