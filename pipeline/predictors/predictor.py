"""What a runtime must do to predict for us: one protocol, its options, its one error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


class PredictorError(Exception):
    """A model cannot be loaded or run; the text is one line: the cause and what to do."""


@dataclass(frozen=True, slots=True)
class PredictorOptions:
    """Where and how a model runs.

    Attributes:
        device: "cpu", or "gpu": the only device that the worker process sees.
        threads: threads of the runtime on the CPU.
        onednn: oneDNN kernels on the CPU; about four times faster.
        graph_optim: let the runtime fuse and reorder the graph.
        memory_optim: let the runtime reuse memory between layers.
        precision: "fp32", "fp16" or "bf16".
        fetch: alias of the output to answer from; None: `prediction`, or the first.
    """

    device: str = "cpu"
    threads: int = 1
    onednn: bool = True
    graph_optim: bool = True
    memory_optim: bool = True
    precision: str = "fp32"
    fetch: str | None = None


class Predictor(Protocol):
    """One loaded model; used by one caller at a time."""

    @property
    def name(self) -> str:
        """The runtime and its version, for the start-up block."""
        ...

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Return scores, float32 [N, classes], of `batch`, float32 [N, C, H, W].

        The result is the caller's own copy.

        Raises:
            PredictorError: the runtime failed, or the batch does not fit the model's feed.
        """
        ...
