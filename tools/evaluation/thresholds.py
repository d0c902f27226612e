"""Thresholds: results with a lower score go to a person."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import NamedTuple

import numpy as np

from tools.accuracy import Share

from .measures import Prediction

STEPS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
_ROUNDING = 1e-12


class Threshold(NamedTuple):
    """The results that remain when those below `threshold` go to a person."""

    threshold: float
    answered: Share
    accuracy: Share

    @property
    def wrong(self) -> int:
        """How many of the results that remain are wrong."""
        return self.accuracy.of - self.accuracy.hits

    @property
    def to_person(self) -> Share:
        """The share of images that go to a person."""
        return Share(self.answered.of - self.answered.hits, self.answered.of)


def at_threshold(predictions: Sequence[Prediction], threshold: float) -> Threshold:
    """Count the results that a service with this threshold would return."""
    kept = [one for one in predictions if one.score >= threshold]
    right = sum(one.right for one in kept)
    return Threshold(threshold, Share(len(kept), len(predictions)), Share(right, len(kept)))


def smallest_threshold(predictions: Sequence[Prediction], wanted: float) -> Threshold | None:
    """Return the smallest threshold with the accuracy `wanted`, or None.

    It is written with as few digits as keep the same images.
    """
    ordered = sorted(predictions, key=lambda one: one.score, reverse=True)
    scores = np.array([one.score for one in ordered])
    right = np.cumsum([one.right for one in ordered])
    counts = np.arange(1, len(ordered) + 1)
    # Images of the same score are on the same side of any threshold.
    last_of_score = np.append(scores[1:] < scores[:-1], True)
    good = np.flatnonzero((right / counts >= wanted - _ROUNDING) & last_of_score)
    if not len(good):
        return None
    last = int(good[-1])
    if last == len(ordered) - 1:
        return at_threshold(predictions, 0.0)
    return at_threshold(predictions, _shortest(float(scores[last + 1]), float(scores[last])))


def _shortest(below: float, up_to: float) -> float:
    """Return the number of the fewest digits that is over `below` and not over `up_to`."""
    low, high = Decimal(below), Decimal(up_to)
    digits = 1
    while True:
        found = high.quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR)
        if found > low and below < float(found) <= up_to:
            return float(found)
        digits += 1
