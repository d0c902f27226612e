"""How near a candidate's scores are to those of the export's own runtime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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


def agreement(export: np.ndarray, scores: np.ndarray, truths: Sequence[int] | None) -> Agreement:
    """Compare scores, float32 [N, classes], with those of the export."""
    if export.shape != scores.shape:
        return Agreement(float("nan"), 0, None, len(export))
    scale = max(1.0, float(np.abs(export).max()))
    best = scores.argmax(axis=1)
    top1 = float((best == np.array(truths)).mean()) if truths is not None else None
    return Agreement(
        float(np.abs(scores - export).max()) / scale,
        int((best == export.argmax(axis=1)).sum()),
        top1,
        len(export),
    )


# fp32 runtimes differ by less than 1e-5; another way to compute by 1e-2 and more.
_EXACT = 1e-4
_CHANGED = 0.05
_SAME_BEST = 0.99
_TOP1_LOST = 0.005
# Of 50 images with the same best class follows that less than 6% of all differ (at 95%).
LEAST_COMPARED = 50


def refusal(found: Agreement, export: Agreement | None, *, is_exact: bool) -> str:
    """Return why a candidate with this agreement is not chosen; "": it may be.

    Args:
        found: that of the candidate.
        export: that of the export with itself, which has its top-1; None: there is none.
        is_exact: it computes as the export does, up to rounding.
    """
    tolerance = _EXACT if is_exact else _CHANGED
    if not found.largest_difference <= tolerance:
        return f"scores differ by {found.largest_difference:.2g}, more than {tolerance:g}"
    if not is_exact and found.images < LEAST_COMPARED:
        return (
            f"it changes scores, and {found.images} compared images show too little of that;"
            f" give {LEAST_COMPARED} images, and --time to compare them"
        )
    if found.same_best < _SAME_BEST * found.images:
        return f"the best class is another one for {found.images - found.same_best} images"
    if export is not None and found.top1 is not None and export.top1 is not None:
        lost = export.top1 - found.top1
        if lost > _TOP1_LOST:
            return f"top-1 falls by {100 * lost:.1f} points"
    return ""
