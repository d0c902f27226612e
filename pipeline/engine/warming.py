"""The warm-up of a worker: the first runs of each size, and how many images a second they give."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from .batch_sizes import RATES_FACT, sizes_up_to
from .preparing import is_function_of_ours

if TYPE_CHECKING:
    from ..classifier import Classifier, ClassifierSettings

# A start gets longer by at most about so much, whichever is more, for figures that mean something:
# the first run of a size is a slow one, and neighbours start at the same time.
_SHARE = 0.2
_SECONDS = 0.2
_MOST_ROUNDS = 5


def warmed_up(classifier: Classifier, settings: ClassifierSettings, began: float) -> dict[str, Any]:
    """Warm the classifier up, and return the facts that its runs gave.

    The runtimes prepare themselves for each new shape; a batch of a size between two that are tried
    costs little more than the next. `began` is when the worker's start did, of `time.monotonic`.

    Raises:
        BundleError, PredictorError: see `Classifier.warm_up`.
    """
    sizes = sizes_up_to(settings.batch_size)
    options = settings.predictor
    # On one thread, computing time says what a run takes however many workers start on this core.
    # It says nothing of a GPU, nor of how well several threads share the work.
    alone = options.device == "cpu" and options.threads == 1
    clock = time.process_time if alone else time.perf_counter
    if not is_function_of_ours(type(classifier), "warm_up"):
        classifier.warm_up(sizes)  # a user's own, which measures nothing
        return {}
    quickest = classifier.warm_up(sizes, _rounds(time.monotonic, began), clock)
    # A clock may be too coarse for what takes next to no time.
    rates = {size: round(size / s, 2) for size, s in quickest.items() if s > 0}
    return {RATES_FACT: rates} if rates else {}


def _rounds(clock: Callable[[], float], began: float) -> Iterator[None]:
    """Yield once for each round that there is time for: the first, and those that are short."""
    round_began = clock()
    yield
    until = clock() + max(_SECONDS, _SHARE * (clock() - began))
    for _ in range(_MOST_ROUNDS - 1):
        took_s = clock() - round_began
        if clock() + took_s > until:
            return
        round_began = clock()
        yield
