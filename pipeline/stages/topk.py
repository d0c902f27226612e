"""Scores -> the best categories, against the labels."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple, Union

import numpy as np


def top_k(
    scores: np.ndarray,
    labels: Sequence[str],
    k: int,
    threshold: Union[float, Sequence[float], None] = None,
) -> List[Tuple[int, str, float]]:
    """Return the best `k` of `scores`, float [classes], as (class_id, label, score), best first.

    Equal scores come in the order of their class. `k` beyond the classes means all of them; with
    `threshold`, one or one a class, categories below theirs are left out, and the list may be
    empty.
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
    return _reaching([(int(i), labels[i], float(scores[i])) for i in order], threshold)


def of_two(
    scores: np.ndarray,
    labels: Sequence[str],
    k: int,
    positive_threshold: float,
    threshold: Optional[float] = None,
) -> List[Tuple[int, str, float]]:
    """Return `k` of two categories, as `top_k` does, but first the one that is decided for.

    It is the second class if its score reaches `positive_threshold`, else the first: PaddleClas'
    `ThreshOutput`. The first of the list need not have the larger score.
    """
    order = (1, 0) if float(scores[1]) >= positive_threshold else (0, 1)
    return _reaching([(i, labels[i], float(scores[i])) for i in order[:k]], threshold)


def _reaching(
    best: List[Tuple[int, str, float]], threshold: Union[float, Sequence[float], None]
) -> List[Tuple[int, str, float]]:
    if threshold is None:
        return best
    if isinstance(threshold, (int, float)):
        return [item for item in best if item[2] >= threshold]
    return [item for item in best if item[2] >= threshold[item[0]]]
