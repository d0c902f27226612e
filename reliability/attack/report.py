"""The table of an attack for people, and JSON for programs."""

from __future__ import annotations

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
            self._cost(),
            f"{seen.health_most_ms:.0f} ms",
            f"{seen.honest['right']} right, {seen.honest['refused']} refused, "
            f"{seen.honest['late'] + seen.honest['lost']} lost",
            "FAILED" if self.problems else "held",
        )

    def _cost(self) -> str:
        if self.reference is None or not self.attack.like:
            return ""
        cost = self.reference.cost(self.seen)
        harmless = self.reference.cost(self.reference.kinds[self.attack.like])
        return f"{cost / max(harmless, 1e-9):.1f} x"

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


def markdown(results: list[Result]) -> str:
    """Return the table for a guide."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + "---|" * len(COLUMNS)]
    lines += ["| " + " | ".join(result.cells()) + " |" for result in results]
    return "\n".join(lines) + "\n"
