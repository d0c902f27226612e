"""Which candidate is chosen of those that were in the final."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bundle.forms import FORMS

from ..errors import ConversionError
from .candidate import Candidate
from .entrant import Entrant

# What another one must gain over the untuned default, and for each option that changes scores.
_GAIN = 1.03
GAIN_CHANGED = 1.10
_LEVEL = 0.98  # of the best: as fast as it


def changes(candidate: Candidate) -> int:
    """Return how many of its options change scores by more than rounding."""
    precise = candidate.precision == "fp32"
    return (not FORMS[candidate.form].exact) + (not precise) + candidate.fast_decode


def choose(race: Mapping[Candidate, Entrant], untuned: Candidate) -> Entrant:
    """Return the candidate to serve with: the untuned default, unless another one is faster.

    Faster means: by more than 3% in the middle of the rounds, by 10% more for each option that
    changes scores, and in nearly all rounds. Of those that are as fast as the fastest, the one with
    the largest batch, for the engine runs smaller ones where they gain.

    Raises:
        ConversionError: no candidate could be measured.
    """
    default = race.get(untuned)
    finalists = [e for e in race.values() if e.final and not e.error and not e.refused]
    if not finalists:
        raise ConversionError(
            "no candidate could be measured to the end; the rows above say why, and"
            " `python -m converter inspect` shows the runtimes that read this bundle"
        )
    if default is None or default not in finalists:
        default = max(finalists, key=lambda entrant: entrant.speed)
    gains = {e: gain(e.final, default.final) for e in finalists if _beats(e, default)}
    if not gains:
        return default
    best = max(gains, key=lambda entrant: gains[entrant] / _price(entrant))
    level = [e for e, times in gains.items() if times >= _LEVEL * gains[best]]
    same = [e for e in level if _but_for_batch(e) == _but_for_batch(best)]
    return max(same, key=lambda entrant: entrant.candidate.batch_size)


def gain(rates: Sequence[float], others: Sequence[float]) -> float:
    """Return how many times as fast `rates` are, the median of the rounds that both were in."""
    return statistics.median(a / b for a, b in zip(rates, others, strict=False))


def _but_for_batch(entrant: Entrant) -> Candidate:
    return replace(entrant.candidate, batch_size=0)


def _beats(entrant: Entrant, default: Entrant) -> bool:
    """Whether it is faster by so much and so often that noise is no likely reason."""
    if entrant is default:
        return False
    rounds = list(zip(entrant.final, default.final, strict=False))
    lost = sum(ours <= theirs for ours, theirs in rounds)
    needed = max(_GAIN, _price(entrant))
    return gain(entrant.final, default.final) > needed and lost <= max(0, len(rounds) - 3) // 4


def _price(entrant: Entrant) -> float:
    """Return what it must gain for its changes of the scores."""
    return float(GAIN_CHANGED ** changes(entrant.candidate))
