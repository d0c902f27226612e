from __future__ import annotations

import numpy as np
import pytest

from pipeline.stages.activation import activate


def test_softmax() -> None:
    logits = np.array([[0, np.log(3)], [1000, 1000], [-1000, 1000]], np.float32)
    scores = activate(logits, "softmax")
    assert scores.dtype == np.float32
    assert np.allclose(scores, [[0.25, 0.75], [0.5, 0.5], [0, 1]], atol=1e-7)


def test_sigmoid() -> None:
    logits = np.array([[0, np.log(3), -np.log(3)], [1000, -1000, 0]], np.float32)
    scores = activate(logits, "sigmoid")
    assert scores.dtype == np.float32
    assert np.allclose(scores, [[0.5, 0.75, 0.25], [1, 0, 0.5]], atol=1e-7)


def test_none_leaves_them() -> None:
    logits = np.array([[5, -5]], np.float32)
    assert activate(logits, None) is logits


@pytest.mark.parametrize("activation", ["softmax", "sigmoid"])
def test_a_row_without_numbers_stays_so_and_spoils_no_other(activation: str) -> None:
    logits = np.array([[np.nan, 1], [0, 0]], np.float32)
    scores = activate(logits, activation)
    assert not np.isfinite(scores[0]).all()
    assert np.allclose(scores[1], 0.5)


def test_another_name() -> None:
    with pytest.raises(ValueError, match="softmax or sigmoid"):
        activate(np.zeros((1, 2), np.float32), "relu")
