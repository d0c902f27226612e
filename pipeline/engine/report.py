"""What the engine tells of each batch that came back, for whoever measures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextvars import Context
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class BatchReport:
    """One batch, when its results are there; times are in seconds.

    Attributes:
        waits_s: of each picture, from its admission until a worker took it.
        contexts: of each picture, the context that its request was made in; a host finds there
            what it has put there.
        run_s: from handing the batch over until its results were there.
        stages_s: how long the worker took for what: "decode" (with the preprocessing) and
            "predict" of the whole batch; empty where a classifier does not tell.
    """

    waits_s: Sequence[float]
    contexts: Sequence[Context]
    run_s: float
    stages_s: Mapping[str, float]


OnBatch: TypeAlias = Callable[[BatchReport], None]


def ignore(_report: BatchReport) -> None:
    """Measure nothing."""
