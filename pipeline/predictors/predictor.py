"""The contract of a runtime's adapter: one protocol, its options, its one error.

tests/pipeline/predictors/test_contract.py holds every runtime of the registry to it. Kept clean for
Python 3.8, as the registry.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Protocol

import numpy as np


class PredictorError(Exception):
    """A model cannot be loaded or run; the text is one line: the cause and what to do."""


@dataclass(frozen=True)
class PredictorOptions:
    """Where and how a model runs; an adapter refuses what it cannot do, and does nothing else.

    Attributes:
        device: "cpu", or "gpu": the only device that the worker process sees.
        threads: threads of the runtime on the CPU.
        onednn: oneDNN kernels on the CPU; about four times faster. A hint: other runtimes have
            kernels of their own.
        graph_optim: let the runtime fuse and reorder the graph.
        memory_optim: let the runtime reuse memory between layers.
        precision: "fp32", "fp16" or "bf16".
        fetch: alias of the output that holds the scores; None: `prediction`, or the first.
        form: the form of the bundle that is loaded (`bundle.forms`); None: the registry chooses.
            Adapters take the graph that their bundle has.
    """

    device: str = "cpu"
    threads: int = 1
    onednn: bool = True
    graph_optim: bool = True
    memory_optim: bool = True
    precision: str = "fp32"
    fetch: Optional[str] = None
    form: Optional[str] = None


class Predictor(Protocol):
    """One loaded model.

    An adapter is called with a bundle and options, and loads the model before it returns. It raises

    - ImportError: the runtime's library is missing or cannot be loaded;
    - PredictorError: the model, the fetch, the device or an option is none that it can serve. It
      never computes on another device, or in another precision, than it was given.

    Threads: a predictor is used by one caller at a time; neither the caller nor the adapter locks.
    It may hold the interpreter lock while it runs, so it belongs in a process of its own. A model
    loaded twice gives two predictors that share nothing.
    """

    @property
    def name(self) -> str:
        """The runtime, its version and the device, in one line: "Paddle 3.3.1 on cpu"."""
        ...

    def predict(self, batch: np.ndarray) -> np.ndarray:
        """Run the model on any number of prepared images.

        Args:
            batch: float32 [N, *feed shape], N at least 1. It is not changed, and need not be
                contiguous. Where the feed takes another type, the adapter converts.

        Returns:
            Scores, float32 [N, classes], row i for image i, whatever batch size the graph was
            exported with. The array is the caller's own: later calls do not change it. Equal
            batches give equal scores.

        Raises:
            PredictorError: the batch does not fit the model's feed, or the runtime failed. The
                predictor can be used again.
        """
        ...
