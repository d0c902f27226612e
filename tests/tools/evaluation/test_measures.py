"""What the answers count up to: shares, classes, groups, confusions, thresholds."""

from __future__ import annotations

import math

import numpy as np
import pytest

from protocol.errors import UndecodableImage
from protocol.reply import Category
from tools.accuracy import Share
from tools.evaluation.measures import Confusion, Evaluated, Evaluation, Prediction
from tools.evaluation.tables import tables_of
from tools.evaluation.thresholds import at_threshold, smallest_threshold

LABELS = ("dry/can", "dry/glass", "wet/peel", "wet/rice")


def evaluation(
    *answers: tuple[int, int, float], labels: tuple[str, ...] = LABELS, failed: int = 0
) -> Evaluation:
    """Of (truth, answer, score); the second best category is the class behind the answer."""
    images = [
        Evaluated(
            f"{number}.jpg",
            truth,
            (
                Category(answer, labels[answer], score),
                Category((answer + 1) % len(labels), labels[(answer + 1) % len(labels)], 0.0),
            ),
        )
        for number, (truth, answer, score) in enumerate(answers)
    ]
    images += [Evaluated(f"bad{i}.jpg", 0, UndecodableImage("is text")) for i in range(failed)]
    return Evaluation("data", "the model", labels, tuple(images))


@pytest.mark.parametrize(
    ("hits", "of", "low", "high"),
    [(8, 10, 0.4902, 0.9433), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (0, 0, 0.0, 1.0)],
)
def test_the_interval_is_wilsons(hits: int, of: int, low: float, high: float) -> None:
    assert Share(hits, of).interval == pytest.approx((low, high), abs=1e-4)


def test_classes_have_recall_and_precision() -> None:
    result = evaluation((0, 0, 0.9), (0, 1, 0.8), (1, 1, 0.7), (2, 1, 0.6))
    assert result.accuracy == (2, 4)
    can, glass, peel, rice = result.classes
    assert (can.recall, can.precision) == ((1, 2), (1, 1))
    assert (glass.recall, glass.precision) == ((1, 1), (1, 3))
    assert (peel.recall.value, peel.images, peel.named) == (0.0, 1, 0)
    assert math.isnan(peel.precision.value)
    assert math.isnan(rice.recall.value)


def test_a_wrong_item_of_the_right_group_counts_for_the_group() -> None:
    result = evaluation((0, 1, 0.9), (2, 3, 0.9), (3, 3, 0.9), (3, 0, 0.9))
    assert result.accuracy == (1, 4)
    assert result.group_accuracy == (3, 4)
    dry, wet = result.groups
    assert (dry.name, dry.recall, dry.precision) == ("dry", (1, 1), (1, 2))
    assert (wet.name, wet.recall, wet.precision) == ("wet", (2, 3), (2, 2))


@pytest.mark.parametrize("labels", [("can", "glass"), ("a/can", "b/glass"), ("a/can", "a/x", "b")])
def test_other_labels_have_no_groups(labels: tuple[str, ...]) -> None:
    result = evaluation((0, 0, 0.9), labels=labels)
    assert result.groups == []
    assert result.group_accuracy is None


def test_the_best_five_count_only_where_there_are_more_classes() -> None:
    assert evaluation((0, 0, 0.9)).top5 is None
    six = tuple("abcdef")
    # right, right in second place, wrong
    assert evaluation((0, 0, 0.9), (1, 0, 0.9), (3, 0, 0.9), labels=six).top5 == (2, 3)


def test_failures_are_named_and_not_counted() -> None:
    result = evaluation((0, 0, 0.9), (1, 0, 0.8), failed=2)
    assert result.accuracy == (1, 2)
    assert list(result.failed) == ["bad0.jpg", "bad1.jpg"]
    table = list(tables_of(result, [], None, None))[-1]
    assert table.title == "Failed"
    assert table.rows[0] == ("bad0.jpg", "err_no 5001: is text")


def test_mistakes_and_confusions_come_in_order() -> None:
    result = evaluation((0, 1, 0.6), (0, 1, 0.9), (2, 0, 0.7), (1, 1, 0.99))
    assert [one.path for one in result.mistakes] == ["1.jpg", "2.jpg", "0.jpg"]
    assert result.confusions == [Confusion(0, 1, 2), Confusion(2, 0, 1)]
    assert result.confusion[0, 1] == 2
    assert result.confusion.sum() == 4


@pytest.mark.parametrize(("classes", "title"), [(12, "matrix"), (13, "Most frequent")])
def test_many_classes_get_a_list_of_confusions(classes: int, title: str) -> None:
    labels = tuple(f"c{i}" for i in range(classes))
    answers = [(i, (i + 1) % classes, 0.5) for i in range(classes) for _ in range(i + 1)]
    shown = list(tables_of(evaluation(*answers, labels=labels), [], None, None))
    (table,) = [t for t in shown if title in t.title]
    if classes == 13:
        assert table.rows[0] == ("c12", "c0", "13", "13")
    else:
        assert table.rows[11][1:3] == ("c11", "12")


def answers_of(*scored: tuple[float, bool]) -> list[Prediction]:
    return [Prediction("x.jpg", 0, 0 if right else 1, score, right) for score, right in scored]


def test_a_threshold_leaves_the_rest_to_a_person() -> None:
    row = at_threshold(answers_of((0.9, True), (0.8, False), (0.8, True), (0.3, False)), 0.8)
    assert row.answered == (3, 4)
    assert row.accuracy == (2, 3)
    assert row.wrong == 1
    assert row.to_person == (1, 4)


def test_the_smallest_threshold_has_few_digits_and_keeps_ties_together() -> None:
    answers = answers_of((0.95, True), (0.9231, True), (0.91, False), (0.91, True), (0.5, True))
    found = smallest_threshold(answers, 1.0)
    assert found is not None
    assert (found.threshold, found.answered, found.wrong) == (0.92, (2, 5), 0)
    assert smallest_threshold(answers, 0.8) == at_threshold(answers, 0.0)


def test_no_threshold_reaches_what_the_best_answer_does_not() -> None:
    assert smallest_threshold(answers_of((0.9, False), (0.8, True)), 0.99) is None


@pytest.mark.parametrize("seed", range(20))
def test_no_smaller_threshold_would_do(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.random(60, dtype=np.float32).round(2 + seed % 6)
    answers = answers_of(*((float(s), bool(rng.random() < 0.5 + s / 2)) for s in scores))
    wanted = float(rng.choice([0.7, 0.8, 0.9]))
    candidates = [0.0, *sorted({one.score for one in answers})]
    good = [t for t in candidates if at_threshold(answers, t).accuracy.value >= wanted]
    found = smallest_threshold(answers, wanted)
    if not good:
        assert found is None
    else:
        assert found is not None
        assert found.answered == at_threshold(answers, good[0]).answered
        assert found.accuracy.value >= wanted
