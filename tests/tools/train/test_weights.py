"""Weights that do not fit are refused; none is ever left out in silence."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")
pytest.importorskip("tqdm", reason="training needs the extra train")


from tools.train.errors import DataError, WeightsError  # noqa: E402
from tools.train.fluid_weights import load_fluid_weights  # noqa: E402
from tools.train.images import ImageSet, load_images  # noqa: E402
from tools.train.recipe import Recipe  # noqa: E402
from tools.train.trainer import Trainer  # noqa: E402
from tools.train.weights import average_weights, load_weights  # noqa: E402

# Paddle warns of its own ways, such as the statistics that batch norm tracks.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:paddle\.")


def network(classes: int = 2, arch: str = "shufflenet_v2_x0_25") -> Any:
    return getattr(paddle.vision.models, arch)(num_classes=classes)


def saved(net: Any, path: Path) -> Path:
    paddle.save(net.state_dict(), str(path))
    return path


def test_a_last_layer_of_other_classes_is_refused_unless_training_starts(tmp_path: Path) -> None:
    three = network(3)
    path = saved(three, tmp_path / "three.pdparams")
    two = network(2)
    with pytest.raises(WeightsError, match="trained on another number of classes"):
        load_weights(two, path)
    head = list(two.state_dict())[-2]
    before = two.state_dict()[head].numpy()
    load_weights(two, path, new_head=True)
    assert np.array_equal(two.state_dict()[head].numpy(), before)
    body = next(iter(two.state_dict()))
    assert np.array_equal(two.state_dict()[body].numpy(), three.state_dict()[body].numpy())


def test_what_is_no_weights_of_the_network_is_refused(tmp_path: Path) -> None:
    two = network()
    other = saved(network(2, "mobilenet_v2"), tmp_path / "other.pdparams")
    with pytest.raises(WeightsError, match="another architecture"):
        load_weights(two, other)
    (tmp_path / "junk.pdparams").write_bytes(b"junk")
    with pytest.raises(WeightsError, match="cannot be read as weights"):
        load_weights(two, tmp_path / "junk.pdparams")
    checkpoint = {"network": two.state_dict(), "optimizer": {}, "step": 1}
    paddle.save(checkpoint, str(tmp_path / "last.pdparams"))
    with pytest.raises(WeightsError, match=r"give best\.pdparams"):
        load_weights(two, tmp_path / "last.pdparams")
    with pytest.raises(WeightsError, match="there are no weights at"):
        average_weights([tmp_path / "none.pdparams"], tmp_path / "soup.pdparams")


def test_only_weights_of_one_network_are_averaged(tmp_path: Path) -> None:
    one, two = network(), network()
    paths = [saved(one, tmp_path / "1.pdparams"), saved(two, tmp_path / "2.pdparams")]
    average_weights(paths, tmp_path / "soup.pdparams")
    soup = paddle.load(str(tmp_path / "soup.pdparams"))
    key = next(iter(soup))
    expected = (one.state_dict()[key].numpy() + two.state_dict()[key].numpy()) / 2
    assert soup[key].numpy() == pytest.approx(expected, abs=1e-6)
    paths.append(saved(network(3), tmp_path / "3.pdparams"))
    with pytest.raises(WeightsError, match="not of one network"):
        average_weights(paths, tmp_path / "soup.pdparams")


def test_an_old_export_that_is_cut_off_is_refused(tmp_path: Path, shared: Path) -> None:
    export = shared / "models" / "imagenet_shufflenetv2_fluid_sep"
    copy = tmp_path / "export"
    copy.mkdir()
    for path in export.iterdir():
        shutil.copyfile(path, copy / path.name)
    whole = network(1000, "shufflenet_v2_x1_0")
    # The last layer, which may have another size: it must be intact all the same.
    (copy / "fc6_weights").write_bytes((export / "fc6_weights").read_bytes()[:-4096])
    with pytest.raises(WeightsError, match="fc6_weights is missing or cut off"):
        load_fluid_weights(whole, copy)
    (copy / "fc6_weights").unlink()
    with pytest.raises(WeightsError, match="fc6_weights is missing or cut off"):
        load_fluid_weights(whole, copy)
    with pytest.raises(WeightsError, match="holds one"):
        load_fluid_weights(whole, tmp_path / "none")


def noise(classes: tuple[str, ...]) -> ImageSet:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 255, (40, 40, 3), np.uint8) for _ in range(8)]
    return ImageSet(images, np.arange(8) % len(classes), classes, [])


def test_a_run_of_other_classes_is_not_resumed(tmp_path: Path) -> None:
    recipe = Recipe(epochs=1, batch_size=4, size=32, test_resize=32, test_size=32)
    old = noise(("a", "b"))
    Trainer(network(), recipe, old, old, tmp_path).fit()
    renamed = noise(("a", "c"))
    with pytest.raises(WeightsError, match="other classes"):
        Trainer(network(), recipe, renamed, renamed, tmp_path).resume()


def test_classes_that_were_not_trained_on_are_reported(tmp_path: Path) -> None:
    for name in ("a", "b", "new"):
        (tmp_path / name).mkdir()
    with pytest.raises(DataError, match=r"not trained on: \['new'\]"):
        load_images(tmp_path, 32, ("a", "b"))


def recipe_of(run: Path, **flags: Any) -> Recipe:
    from tools.train.commands import _recipe, _run_before

    options = argparse.Namespace(run=run, **{"resume": False, **flags})
    return _recipe(options, _run_before(options))


def test_a_resumed_run_keeps_its_recipe_where_no_flag_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys, "path", list(sys.path))  # train.py puts the root first
    assert recipe_of(tmp_path, seed=7) == Recipe(seed=7)
    (tmp_path / "recipe.json").write_text(json.dumps(asdict(Recipe(seed=7))), encoding="utf-8")
    assert recipe_of(tmp_path, resume=True, epochs=3) == Recipe(seed=7, epochs=3)
    (tmp_path / "last.pdparams").touch()
    with pytest.raises(DataError, match="holds a run; add --resume"):
        recipe_of(tmp_path)
    with pytest.raises(DataError, match="cannot be cut out"):
        recipe_of(tmp_path, resume=True, test_size=224, test_resize=200)
