"""Images of training as the service sees them, and the recipe in a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tqdm", reason="training needs the extra train")
paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")

from tools.train.errors import DataError  # noqa: E402
from tools.train.images import ImageSet, centre  # noqa: E402
from tools.train.recipe import OPTIMIZERS, Recipe  # noqa: E402
from tools.train.trainer import Trainer  # noqa: E402


def test_the_centre_is_what_serving_cuts_out() -> None:
    image = np.zeros((100, 200, 3), np.uint8)
    image[40:60, 90:110] = 255
    cut = centre(image, 50, 20)
    assert cut.shape == (20, 20, 3)
    assert cut[10, 10].tolist() == [255, 255, 255]
    assert cut[0, 0].tolist() == [0, 0, 0]


def test_the_learning_rate_drops_at_the_epochs_of_the_recipe() -> None:
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
