"""Each option of a recipe does to a run, or to a view of an image, what it says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training needs the extra train")
paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")

from tools.train import trainer as trainer_module  # noqa: E402
from tools.train.augmentation import Augmentation  # noqa: E402
from tools.train.errors import RunError  # noqa: E402
from tools.train.images import ImageSet  # noqa: E402
from tools.train.recipe import Recipe  # noqa: E402
from tools.train.scoring import evaluate  # noqa: E402
from tools.train.trainer import Trainer  # noqa: E402

SIDE = 16
# Nothing that is random, and as good as no learning: what a test changes is all that happens.
STILL = Recipe(
    epochs=1, batch_size=8, size=SIDE, test_resize=SIDE, test_size=SIDE, learning_rate=1e-9,
    warm_up_epochs=0, head_factor=1.0, weight_decay=0.0, label_smoothing=0, mixup=0, cutmix=0,
    balance=0, ema=0, min_area=1, aspect=1, rotation=0, horizontal_flip=False,
    vertical_flip=False, colour=0, erase=0, plain_epochs=0,
)  # fmt: skip
VIEW = Augmentation(
    64, min_area=1, aspect=1, rotation_deg=0, horizontal_flip=False, vertical_flip=False,
    colour=0, erase=0,
)  # fmt: skip


def two_shades(count: int = 8) -> ImageSet:
    images = [np.full((SIDE, SIDE, 3), 60 + 130 * (i % 2), np.uint8) for i in range(count)]
    return ImageSet(images, np.arange(count) % 2, ("dark", "light"), [])


def linear(bias: tuple[float, float] = (0.0, 0.0)) -> paddle.nn.Layer:
    """A network that answers `bias` to every image, until it has learned."""
    layer = paddle.nn.Linear(3 * SIDE * SIDE, 2)
    layer.weight.set_value(paddle.zeros_like(layer.weight))
    layer.bias.set_value(paddle.to_tensor(bias))
    return paddle.nn.Sequential(paddle.nn.Flatten(), layer)


def metrics(run: Path) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_label_smoothing_is_in_the_loss(tmp_path: Path, smoothing: float) -> None:
    recipe = replace(STILL, label_smoothing=smoothing)
    Trainer(linear((2.0, 0.0)), recipe, two_shades(), two_shades(), tmp_path).fit()
    scores = np.exp([2.0, 0.0]) / np.exp([2.0, 0.0]).sum()
    right = np.eye(2) * (1 - smoothing) + smoothing / 2
    # Half of the images are of each class.
    expected = np.mean([-(row * np.log(scores)).sum() for row in right])
    assert metrics(tmp_path)[0]["loss"] == pytest.approx(expected, abs=1e-4)


def test_the_best_weights_are_kept_and_not_the_last(tmp_path: Path) -> None:
    # What it is trained on says the opposite of what it is measured by: it gets worse.
    wrong = two_shades()
    wrong = replace(wrong, targets=1 - wrong.targets)
    network = linear()
    start = np.linspace(-1, 1, 2, dtype=np.float32) * np.ones((3 * SIDE * SIDE, 1), np.float32)
    network[1].weight.set_value(paddle.to_tensor(start * 1e-3))
    recipe = replace(STILL, epochs=6, learning_rate=2e-4)
    report = Trainer(network, recipe, wrong, two_shades(), tmp_path).fit()
    val = [line["val"] for line in metrics(tmp_path)]
    assert val[0] == 1
    assert val[-1] == 0
    assert report.accuracy == 1
    for name, accuracy in (("best", 1.0), ("final", 0.0)):
        network.set_state_dict(paddle.load(str(tmp_path / f"{name}.pdparams")))
        assert evaluate(network, two_shades(), SIDE, SIDE).accuracy == accuracy


def first_step(recipe: Recipe, run: Path) -> list[np.ndarray]:
    """Return by how much one step moves weight and bias of two layers, the first then the last."""
    paddle.seed(3)
    network = paddle.nn.Sequential(
        paddle.nn.Flatten(), paddle.nn.Linear(3 * SIDE * SIDE, 4), paddle.nn.Linear(4, 2)
    )
    before = [parameter.numpy().copy() for parameter in network.parameters()]
    # 8 images in batches of 8: a single step.
    Trainer(network, recipe, two_shades(), two_shades(), run).fit()
    after = paddle.load(str(run / "last.pdparams"))["network"]
    return [now.numpy() - then for now, then in zip(after.values(), before, strict=True)]


def test_the_last_layer_learns_faster(tmp_path: Path) -> None:
    recipe = replace(STILL, learning_rate=1e-3)
    plain = first_step(recipe, tmp_path / "plain")
    faster = first_step(replace(recipe, head_factor=5.0), tmp_path / "faster")
    for number, factor in enumerate([1, 1, 5, 5]):
        assert np.abs(plain[number]).max() > 0
        assert faster[number] == pytest.approx(factor * plain[number], rel=1e-3, abs=1e-7)


def test_weights_decay_and_biases_do_not(tmp_path: Path) -> None:
    recipe = replace(STILL, learning_rate=1e-3)
    plain = first_step(recipe, tmp_path / "plain")
    decayed = first_step(replace(recipe, weight_decay=0.5), tmp_path / "decayed")
    for number, decays in enumerate([True, False, True, False]):
        assert np.allclose(decayed[number], plain[number], atol=1e-7) is not decays


def test_the_last_epochs_do_without_mixing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    epochs = []

    def mixed(images: Any, targets: Any, *_: Any) -> Any:
        epochs.append(trainer._epoch)
        return images, targets

    monkeypatch.setattr(trainer_module, "mixed", mixed)
    recipe = replace(STILL, epochs=4, plain_epochs=2, mixup=0.5)
    trainer = Trainer(linear(), recipe, two_shades(), two_shades(), tmp_path)
    trainer.fit()
    assert epochs == [0, 1]


@pytest.mark.parametrize("height", [256, 500])
@pytest.mark.parametrize("min_area", [1.0, 0.64])
def test_an_image_that_is_not_square_is_not_stretched(height: int, min_area: float) -> None:
    # Red rises to the right and green downwards, equally fast: the slopes show the scale.
    across, down = np.meshgrid(np.arange(341) / 2, np.arange(height) / 2)
    image = np.stack([across, down, down], axis=-1).astype(np.uint8)
    rng = np.random.default_rng(0)
    for _ in range(30):
        view = replace(VIEW, min_area=min_area)(image, rng)
        wide = view[32, 56, 0] - view[32, 8, 0]
        high = view[56, 32, 1] - view[8, 32, 1]
        assert wide / high == pytest.approx(1, abs=0.05)


def views(image: np.ndarray, count: int = 40, **change: Any) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    augment = replace(VIEW, **change)
    return [augment(image, rng) for _ in range(count)]


def test_views_are_turned_as_far_as_they_may_be() -> None:
    # Brighter to the right: the gradient's direction is the angle.
    image = np.repeat(np.tile(np.arange(128, dtype=np.uint8), (128, 1))[..., None], 3, axis=-1)
    angles = []
    for view in views(image, rotation_deg=30.0):
        middle = view[24:40, 24:40, 0]
        down, across = np.gradient(middle)
        angles.append(np.degrees(np.arctan2(down.mean(), across.mean())))
    assert 20 < max(angles) <= 31
    assert -31 <= min(angles) < -20


@pytest.mark.parametrize(
    ("flag", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)], ids=["across", "down"]
)
def test_half_of_the_views_are_flipped_along_one_axis(flag: str, axis: int) -> None:
    image = np.random.default_rng(1).integers(0, 255, (64, 64, 3), np.uint8)
    seen = [
        "flipped" if np.allclose(view, np.flip(image, axis), atol=1) else
        "plain" if np.allclose(view, image, atol=1) else "other"
        for view in views(image, **{flag: True})
    ]  # fmt: skip
    assert set(seen) == {"flipped", "plain"}
    assert 10 < seen.count("flipped") < 30


def test_colours_change_by_as_much_as_they_may() -> None:
    image = np.full((64, 64, 3), (60, 120, 90), np.uint8)
    assert {view.mean() for view in views(image)} == {90.0}
    brightness = [view.mean() / 90 for view in views(image, colour=0.2)]
    assert 0.75 < min(brightness) < 0.9
    assert 1.1 < max(brightness) < 1.25


def test_a_part_is_painted_over_as_often_as_requested() -> None:
    image = np.full((64, 64, 3), 200, np.uint8)
    painted = [(view != 200).any(axis=-1).mean() for view in views(image, 60, erase=0.5)]
    assert 15 < sum(share > 0 for share in painted) < 45
    assert 0 < max(painted) <= 0.25
    assert not any((view != 200).any() for view in views(image))


def test_a_run_that_leaves_all_bounds_ends_and_keeps_what_was_good(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        Trainer(linear(), replace(STILL, epochs=1), two_shades(), two_shades(), tmp_path).fit()
    kept = (tmp_path / "best.pdparams").read_bytes()
    recipe = replace(STILL, epochs=3, learning_rate=1e38, batch_size=4)
    # The optimizer's state is named by counters, which are new in a new process; as here.
    with paddle.utils.unique_name.guard():
        wild = Trainer(linear(), recipe, two_shades(), two_shades(), tmp_path)
        assert wild.resume()
        with pytest.raises(RunError, match="lower --learning-rate"):
            wild.fit()
    assert (tmp_path / "best.pdparams").read_bytes() == kept
    assert [line["epoch"] for line in metrics(tmp_path)] == [1]
