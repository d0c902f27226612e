from __future__ import annotations

import numpy as np
import pytest

from pipeline.stages.topk import of_two, top_k

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


def test_each_class_has_its_threshold() -> None:
    best = top_k(np.float32([0.5, 0.25, 0.75]), LABELS, 3, (0.5, 0.125, 0.875))
    assert [i for i, _, _ in best] == [0, 1]


@pytest.mark.parametrize(
    ("score", "k", "threshold", "expected"),
    [
        (0.75, 2, None, [0, 1]),  # below 0.875, so the first class, though the second is larger
        (0.875, 2, None, [1, 0]),
        (0.75, 1, None, [0]),
        (0.75, 9, 0.5, [1]),
    ],
)
def test_of_two_classes_the_threshold_decides(
    score: float, k: int, threshold: float | None, expected: list[int]
) -> None:
    best = of_two(np.float32([1 - score, score]), LABELS, k, 0.875, threshold)
    assert [i for i, _, _ in best] == expected
    assert all(value == (score if i else 1 - score) for i, _, value in best)


def test_a_threshold_leaves_out() -> None:
    assert ids([0.2, 0.5, 0.3], 3, 0.3) == [1, 2] or ids([0.2, 0.5, 0.3], 3, 0.29) == [1, 2]
    assert ids([0.2, 0.5, 0.3], 3, 0.9) == []


@pytest.mark.parametrize("k", [1, 5, 249, 250, 1000])
def test_many_classes_give_what_a_stable_sort_gives(k: int) -> None:
    rng = np.random.default_rng(k)
    scores = rng.integers(0, 50, 1000).astype(np.float32)  # many ties
    expected = np.argsort(-scores, kind="stable")[:k].tolist()
    assert ids(scores.tolist(), k) == expected
