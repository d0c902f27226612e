"""How near a candidate's scores are to those of the export's own runtime."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Agreement:
    """What a comparison of scores gave.

    Attributes:
        largest_difference: of all scores; of logits relative to the largest. NaN: no number.
        same_best: in how many images both have the same best class.
        top1: the part of labelled images whose best class is their label; None without labels.
        images: how many were compared.
    """

    largest_difference: float
    same_best: int
    top1: float | None
    images: int
