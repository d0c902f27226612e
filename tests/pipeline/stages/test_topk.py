from __future__ import annotations

import numpy as np
import pytest

from pipeline.stages.topk import top_k

LABELS = [f"label {i}" for i in range(1000)]


def ids(scores: list[float], k: int, threshold: float | None = None) -> list[int]:
    return [i for i, _, _ in top_k(np.float32(scores), LABELS, k, threshold)]


def test_best_first_with_label_and_score() -> None:
    assert top_k(np.float32([0.25, 0.5, 0.125]), LABELS, 2) == [
        (1, "label 1", 0.5),
        (0, "label 0", 0.25),
    ]


def test_equal_scores_come_in_the_order_of_their_class() -> None:
    assert ids([0.2, 0.3, 0.3, 0.2], 4) == [1, 2, 0, 3]


def test_more_than_there_are_means_all() -> None:
    assert ids([0.2, 0.8], 99) == [1, 0]


def test_a_threshold_leaves_out() -> None:
    assert ids([0.2, 0.5, 0.3], 3, 0.3) == [1, 2] or ids([0.2, 0.5, 0.3], 3, 0.29) == [1, 2]
    assert ids([0.2, 0.5, 0.3], 3, 0.9) == []


@pytest.mark.parametrize("k", [1, 5, 249, 250, 1000])
def test_many_classes_give_what_a_stable_sort_gives(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(0, 50, 1000).astype(np.float32)  # many ties
    expected = np.argsort(-scores, kind="stable")[:k].tolist()
    assert ids(scores.tolist(), k) == expected
