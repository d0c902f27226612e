"""Views of training images, mixtures of a batch, and the order of an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tools.train.augmentation import Augmentation, balanced_order, mixed


def test_views_have_the_requested_size_and_stay_in_range() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (70, 90, 3), np.uint8)
    augment = Augmentation(48)
    views = [augment(image, rng) for _ in range(50)]
    assert {view.shape for view in views} == {(48, 48, 3)}
    assert all(view.min() >= 0 and view.max() <= 255 for view in views)
    assert len({view.tobytes() for view in views}) == 50


def test_a_view_without_change_shows_the_image_flipped_at_most() -> None:
    rng = np.random.default_rng(0)
    image = np.zeros((48, 48, 3), np.uint8)
    image[:, :24] = 200
    augment = Augmentation(
        48, min_area=1.0, aspect=1.0, rotation_deg=0.0, vertical_flip=False, colour=0.0, erase=0.0
    )
    views = [augment(image, rng).round().astype(np.uint8) for _ in range(20)]
    flips = [image, image[:, ::-1]]
    assert {[np.array_equal(view, flip) for flip in flips].index(True) for view in views} == {0, 1}


@pytest.mark.parametrize(("aspect", "stretched"), [(1.0, False), (2.0, True)])
def test_a_view_is_stretched_only_as_far_as_it_may_be(aspect: float, *, stretched: bool) -> None:
    # Red rises by one a pixel to the right and green downwards: the slopes show the scale.
    across, down = np.meshgrid(np.arange(96), np.arange(96))
    image = np.stack([across, down, down], axis=-1).astype(np.uint8)
    augment = Augmentation(
        48, min_area=0.25, aspect=aspect, rotation_deg=0.0, horizontal_flip=False,
        vertical_flip=False, colour=0.0, erase=0.0,
    )  # fmt: skip
    rng = np.random.default_rng(0)
    ratios = []
    for _ in range(40):
        view = augment(image, rng)
        ratios.append((view[24, 40, 0] - view[24, 8, 0]) / (view[40, 24, 1] - view[8, 24, 1]))
    furthest = max(*ratios, 1 / min(ratios))
    assert furthest > 1.4 if stretched else furthest < 1.1
    assert furthest < aspect * 1.1


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_labels_are_mixed_as_the_images_are(kind: str) -> None:
    rng = np.random.default_rng(1)
    images = np.stack([np.full((3, 32, 32), float(i), np.float32) for i in range(4)])
    targets = np.eye(4, dtype=np.float32)
    odds = {"mixup": 0.0, "cutmix": 0.0, kind: 1.0}
    for _ in range(20):
        blended, labels = mixed(images, targets, rng, **odds)
        assert labels.sum(axis=1) == pytest.approx(np.ones(4), abs=1e-5)
        # Each image holds its own number, so its mean is what its label says it should be.
        assert blended.mean(axis=(1, 2, 3)) == pytest.approx(labels @ np.arange(4), abs=1e-3)


def test_balance_draws_rare_classes_more_often() -> None:
    rng = np.random.default_rng(0)
    targets = np.array([0] * 90 + [1] * 10)
    assert sorted(balanced_order(targets, rng, 0.0)) == list(range(100))
    drawn = np.mean([np.mean(targets[balanced_order(targets, rng, 1.0)]) for _ in range(50)])
    assert drawn == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("turns", range(4))
def test_a_quarter_turn_moves_pixels_and_makes_none(turns: int) -> None:
    class Fixed:
        """Draws the largest crop, no change, and this quarter turn."""

        def uniform(self, low: float, high: float, size: int | None = None) -> Any:
            value = high if (low, high) == (1.0, 1.0) else (low + high) / 2
            return value if size is None else np.full(size, value)

        def random(self) -> float:
            return 0.9

        def integers(self, *_: int) -> int:
            return turns

    image = np.random.default_rng(1).integers(0, 256, (16, 16, 3), np.uint8)
    plain = Augmentation(
        16, min_area=1.0, rotation_deg=0.0, quarter_turns=True, colour=0.0, erase=0.0
    )
    view = plain(image, Fixed())  # type: ignore[arg-type]
    assert np.array_equal(view.astype(np.uint8), np.rot90(image, turns))
