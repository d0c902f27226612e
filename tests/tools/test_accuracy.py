"""Accuracy and confusion matrix."""

from __future__ import annotations

import numpy as np

from tools.accuracy import report_of


def test_a_report_counts() -> None:
    report = report_of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("a", "b"))
    assert report.accuracy == 0.75
    assert report.confusion.tolist() == [[1, 1], [0, 2]]
    assert "Accuracy 0.7500 (3 of 4), 95% interval 0.301 to 0.954" in report.markdown()
    assert "| a | 1 | 1 | 0.500 |" in report.markdown()


def test_a_class_without_images_has_no_recall() -> None:
    text = report_of(np.array([0, 0, 1]), np.array([0, 0, 1]), ("a", "b", "c")).markdown()
    assert "| c | 0 | 0 | 0 | - |" in text
    assert "| precision | 1.000 | 1.000 | - | |" in text
