from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training needs the extra train")

from examples.training.pictures import Augmentation, balanced_order, centre, mixed
from examples.training.report import report_of


def test_views_have_the_size_asked_for_and_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (70, 90, 3), np.uint8)
    augment = Augmentation(48)
    views = [augment(image, rng) for _ in range(50)]
    assert {view.shape for view in views} == {(48, 48, 3)}
    assert all(view.min() >= 0 and view.max() <= 255 for view in views)
    assert len({view.tobytes() for view in views}) == 50


def test_a_view_without_change_shows_the_picture_flipped_at_most() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((48, 48, 3), np.uint8)
    image[:, :24] = 200
    augment = Augmentation(48, 1.0, 0.0, vertical_flip=False, colour=0.0, erase=0.0)
    views = [augment(image, rng) for _ in range(20)]
    flips = [image.astype(np.float32), image[:, ::-1].astype(np.float32)]
    # The aspect may change by a third, so the edge may move a little and no more.
    nearest = [[np.abs(view - flip).mean() for flip in flips] for view in views]
    assert all(min(distances) < 30 for distances in nearest)
    assert {int(np.argmin(distances)) for distances in nearest} == {0, 1}


def test_the_centre_is_what_serving_cuts_out() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255
    cut = centre(image, 50, 20)
    assert cut.shape == (20, 20, 3)
    assert cut[10, 10].tolist() == [255, 255, 255]
    assert cut[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_pictures_are(kind: str) -> None:
    rng = np.random.default_rng(1)
    images = np.stack([np.full((3, 32, 32), float(i), np.float32) for i in range(4)])
    targets = np.eye(4, dtype=np.float32)
    odds = {"mixup": 0.0, "cutmix": 0.0, kind: 1.0}
    for _ in range(20):
        blended, labels = mixed(images, targets, rng, **odds)
        assert labels.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
        # Each picture holds its own number, so its mean is what its label says it should be.
        assert blended.mean(axis=(1, 2, 3)) == pytest.approx(labels @ np.arange(4), abs=1e-3)


def test_balance_draws_rare_classes_more_often() -> None:
    rng = np.random.default_rng(0)
    targets = np.array([0] * 90 + [1] * 10)
    assert sorted(balanced_order(targets, rng, 0.0)) == list(range(100))
    drawn = np.mean([np.mean(targets[balanced_order(targets, rng, 1.0)]) for _ in range(50)])
    assert drawn == pytest.approx(0.5, abs=0.05)


def test_a_report_counts() -> None:
    report = report_of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), ("a", "b"))
    assert report.accuracy == 0.75
    assert report.confusion.tolist() == [[1, 1], [0, 2]]
    assert "| a | 1 | 1 | 0.500 |" in report.markdown()
