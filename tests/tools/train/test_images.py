from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training needs the extra train")
paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")

from tools.accuracy import report_of  # noqa: E402
from tools.train.augmentation import Augmentation, balanced_order, mixed  # noqa: E402
from tools.train.errors import DataError  # noqa: E402
from tools.train.images import ImageSet, centre  # noqa: E402
from tools.train.recipe import OPTIMIZERS, Recipe  # noqa: E402
from tools.train.trainer import Trainer  # noqa: E402


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


def test_the_centre_is_what_serving_cuts_out() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255
    cut = centre(image, 50, 20)
    assert cut.shape == (20, 20, 3)
    assert cut[10, 10].tolist() == [255, 255, 255]
    assert cut[0, 0].tolist() == [0, 0, 0]


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


def test_the_learning_rate_drops_where_it_is_reported_to() -> None:
    recipe = Recipe(learning_rate=1.0, warm_up_epochs=1, drop_epochs=(2, 3), epochs=9)
    rates = [recipe.learning_rate_at(step, 2) for step in range(8)]
    assert rates == pytest.approx([0.5, 1, 1, 1, 0.1, 0.1, 0.01, 0.01])
    cosine = Recipe(learning_rate=1.0, warm_up_epochs=0, epochs=4)
    rates = [cosine.learning_rate_at(step, 1) for step in range(5)]
    assert rates == pytest.approx([1, 0.853553, 0.5, 0.146447, 0.01], abs=1e-5)


def test_a_run_drops_its_rate_at_the_epoch_of_the_recipe(tmp_path: Path) -> None:
    # 20 images in batches of 8: two steps an epoch, and not three.
    images = [np.full((16, 16, 3), i, np.uint8) for i in range(20)]
    train = ImageSet(images, np.arange(20) % 2, ("a", "b"), [])
    network = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(3 * 16 * 16, 2))
    recipe = Recipe(
        epochs=3, batch_size=8, size=16, test_resize=16, test_size=16, warm_up_epochs=1,
        learning_rate=0.1, drop_epochs=(2,),
    )  # fmt: skip
    Trainer(network, recipe, train, train, tmp_path).fit()
    lines = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    assert [json.loads(line)["rate"] for line in lines] == pytest.approx([0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "--epochs 0 must be from 1 on"),
        ({"min_area": 1.5}, "--min-area 1.5 must be from 0.01 to 1"),
        ({"mixup": 0.6, "cutmix": 0.6}, "together 1 at most"),
        ({"mean": (123.7, 116.3, 103.5)}, "divide those of 0..255"),
        ({"std": (0.0, 0.2, 0.2)}, "--std are of images in 0..1"),
        ({"test_size": 224, "test_resize": 200}, "cannot be cut out"),
    ],
)
def test_numbers_that_no_run_can_be_made_with_are_reported(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Recipe(**settings).check()


@pytest.mark.parametrize("name", sorted(OPTIMIZERS))
def test_every_optimizer_learns(name: str, tmp_path: Path) -> None:
    paddle.seed(0)
    rng = np.random.default_rng(0)
    images = [np.full((16, 16, 3), 60 + 130 * (i % 2), np.uint8) for i in range(16)]
    images = [image + rng.integers(0, 20, image.shape, np.uint8) for image in images]
    train = ImageSet(images, np.arange(16) % 2, ("dark", "light"), [])
    network = paddle.nn.Sequential(paddle.nn.Flatten(), paddle.nn.Linear(3 * 16 * 16, 2))
    recipe = Recipe(
        epochs=8, batch_size=8, size=16, test_resize=16, test_size=16, learning_rate=0.01,
        warm_up_epochs=0, ema=0, mixup=0, cutmix=0, colour=0, erase=0, optimizer=name,
    )  # fmt: skip
    assert Trainer(network, recipe, train, train, tmp_path).fit().accuracy == 1
