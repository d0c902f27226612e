"""What the engine reports of each batch, for metrics and traces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One batch, when its results are there; times are in seconds.

    Attributes:
        waits_s: of each image, from its admission until a worker took it.
        contexts: of each image, the context variables of its request; tracing finds its span there.
        run_s: from handing the batch over until its results were there.
        stages_s: how long the worker took for "decode" (with the preprocessing) and "predict" of
            the whole batch; empty where a classifier does not measure.
    """

    waits_s: Sequence[float]
    contexts: Sequence[Context]
    run_s: float
    stages_s: Mapping[str, float]


OnBatch: TypeAlias = Callable[[BatchReport], None]


def ignore(_report: BatchReport) -> None:
    """Measure nothing."""
