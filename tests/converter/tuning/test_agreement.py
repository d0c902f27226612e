"""Scores beside those of the export, and which differences are too large."""

from __future__ import annotations

import numpy as np
import pytest

from converter.tuning.agreement import Agreement, agreement, refusal

EXPORT = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4]], np.float32)


def test_an_agreement_counts_best_classes_and_labels() -> None:
    scores = EXPORT.copy()
    scores[2] = [0.5, 0.3, 0.2]
    found = agreement(EXPORT, scores, [0, 1, 0])
    assert found.same_best == 2
    assert found.top1 == 1
    assert found.largest_difference == pytest.approx(0.2)
    assert agreement(EXPORT, EXPORT, None) == Agreement(0.0, 3, None, 3)


def test_logits_differ_relative_to_the_largest() -> None:
    found = agreement(100 * EXPORT, 100 * EXPORT + 0.08, None)
    assert found.largest_difference == pytest.approx(0.001, rel=1e-3)


@pytest.mark.parametrize("scores", [EXPORT[:, :2], np.full_like(EXPORT, np.nan)])
def test_other_classes_or_no_numbers_are_refused(scores: np.ndarray) -> None:
    found = agreement(EXPORT, scores, None)
    assert "differ" in refusal(found, None, is_exact=False)


@pytest.mark.parametrize(
    ("found", "is_exact", "reason"),
    [
        (Agreement(2e-5, 100, None, 100), True, ""),
        (Agreement(2e-2, 100, None, 100), True, "scores differ by 0.02"),
        (Agreement(2e-2, 100, None, 100), False, ""),
        (Agreement(2e-2, 49, None, 49), False, "49 compared images show too little"),
        (Agreement(2e-5, 1, None, 1), True, ""),
        (Agreement(2e-2, 98, None, 100), False, "another one for 2 images"),
        (Agreement(2e-2, 99, 0.80, 100), False, "top-1 falls by 10.0 points"),
        (Agreement(2e-2, 99, 0.91, 100), False, ""),
    ],
)
def test_what_is_refused(found: Agreement, is_exact: bool, reason: str) -> None:
    export = Agreement(0.0, 100, 0.90, 100)
    text = refusal(found, export, is_exact=is_exact)
    assert reason in text
    assert bool(reason) == bool(text)
