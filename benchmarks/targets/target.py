"""What is promised, what was measured, and whether it holds."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """One promise with its measurement.

    Attributes:
        part: which part of the run measured it.
        what: the two things that are compared, and under what load.
        bound: the least ratio; the most where `at_most`.
        values: a ratio of each round. No values: `reason` says why.
        at_most: the ratio must not be above `bound`.
        reason: why there are no values, or what a reader must know.
    """

    part: str
    what: str
    bound: float
    values: tuple[float, ...] = ()
    at_most: bool = False
    reason: str = ""

    @property
    def value(self) -> float | None:
        """The median of the rounds; None if it was not measured."""
        return statistics.median(self.values) if self.values else None

    @property
    def held(self) -> bool | None:
        """Whether the median keeps the promise; None if it was not measured."""
        if self.value is None:
            return None
        return self.value <= self.bound if self.at_most else self.value >= self.bound

    @property
    def wanted(self) -> str:
        """The bound in words of a table."""
        return f"{'at most' if self.at_most else 'at least'} {self.bound:.2f}"

    @property
    def found(self) -> str:
        """The median with the lowest and the highest round."""
        if self.value is None:
            return "-"
        if len(self.values) == 1:
            return f"{self.value:.2f}"
        return f"{self.value:.2f} ({min(self.values):.2f} to {max(self.values):.2f})"

    @property
    def verdict(self) -> str:
        """One word of a table."""
        return {None: "not measured", True: "held", False: "missed"}[self.held]


def ratios(rates: Sequence[float], of: Sequence[float]) -> tuple[float, ...]:
    """Return rate / rate of each round; a round without replies on either side is 0."""
    return tuple(a / b if b else 0.0 for a, b in zip(rates, of, strict=True))
