"""Scores -> the best categories, against the labels."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

import numpy as np


def top_k(
    scores: np.ndarray, labels: Sequence[str], k: int, threshold: Optional[float] = None
) -> List[Tuple[int, str, float]]:
    """Return the best `k` of `scores`, float [classes], as (class_id, label, score), best first.

    Equal scores come in the order of their class. `k` beyond the classes means all of them; with
    `threshold`, categories below it are left out, and the list may be empty.
    """
    k = min(k, len(scores))
    if k < len(scores) // 4:
        # Sorting a thousand classes for one answer costs more than the answer; but a partition
        # alone would break ties by chance, so everything equal to the last place stays in.
        last = np.partition(scores, len(scores) - k)[len(scores) - k]
        candidates = np.flatnonzero(scores >= last)
    else:
        candidates = np.arange(len(scores))
    order = candidates[np.argsort(-scores[candidates], kind="stable")][:k]
    best = [(int(i), labels[i], float(scores[i])) for i in order]
    return [item for item in best if threshold is None or item[2] >= threshold]
