"""What the training tool leaves behind: exports that Paddle Inference reads, exact resuming."""

from __future__ import annotations

import json
import resource
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")
pytest.importorskip("tqdm", reason="training needs the extra train")

from bundle.errors import BundleError  # noqa: E402
from tools.train.export import export  # noqa: E402
from tools.train.images import ImageSet  # noqa: E402
from tools.train.recipe import Recipe  # noqa: E402
from tools.train.trainer import Trainer  # noqa: E402

# Paddle warns of its own ways, such as the statistics that batch norm tracks.
pytestmark = pytest.mark.filterwarnings(r"ignore::UserWarning:paddle\.")

SIZE = 32
RECIPE = Recipe(epochs=3, batch_size=8, size=SIZE, test_resize=36, test_size=SIZE, seed=4)


def network(classes: int = 2) -> paddle.nn.Layer:
    paddle.seed(4)
    return paddle.vision.models.shufflenet_v2_x1_0(num_classes=classes)


def noise(count: int) -> ImageSet:
    rng = np.random.default_rng(count)
    images = [rng.integers(0, 255, (40, 48, 3), np.uint8) for _ in range(count)]
    return ImageSet(images, np.arange(count) % 2, ("a", "b"), [])


def test_paddle_inference_gives_the_scores_of_the_network(tmp_path: Path) -> None:
    from paddle import inference

    trained = network(3)
    export(trained, tmp_path, "shufflenet_v2_x1_0", ("甲", "乙", "丙"), 36, SIZE)
    assert {path.name for path in tmp_path.iterdir()} >= {
        "inference.json",
        "inference.pdiparams",
        "inference.yml",
    }
    config = inference.Config(
        str(tmp_path / "inference.json"), str(tmp_path / "inference.pdiparams")
    )
    config.disable_glog_info()
    predictor = inference.create_predictor(config)
    assert predictor.get_input_names() == ["x"]
    feed = predictor.get_input_handle("x")
    trained.eval()
    # Other batch sizes than the one it was traced with: the batch dimension is open.
    for count in (1, 5):
        batch = np.random.default_rng(count).standard_normal((count, 3, SIZE, SIZE), np.float32)
        feed.reshape(batch.shape)
        feed.copy_from_cpu(batch)
        predictor.run()
        scores = predictor.get_output_handle(predictor.get_output_names()[0]).copy_to_cpu()
        with paddle.no_grad():
            own = paddle.nn.functional.softmax(trained(paddle.to_tensor(batch))).numpy()
        assert scores == pytest.approx(own, abs=1e-5)
        assert scores.sum(axis=1) == pytest.approx(np.ones(count), abs=1e-5)


def test_a_full_disk_is_an_error_and_no_short_export(tmp_path: Path) -> None:
    """Paddle itself writes what fits and says nothing."""
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, limit[1]))
    try:
        with pytest.raises(BundleError, match=r"inference\.pdiparams is truncated"):
            export(network(), tmp_path, "shufflenet_v2_x1_0", ["a", "b"], 36, SIZE)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def test_the_description_is_in_the_form_of_paddleclas(tmp_path: Path) -> None:
    export(network(), tmp_path, "shufflenet_v2_x1_0", ("甲/乙", "丙"), 36, SIZE)
    written = yaml.safe_load((tmp_path / "inference.yml").read_text(encoding="utf-8"))
    assert written == {
        "Global": {"model_name": "shufflenet_v2_x1_0"},
        "PreProcess": {
            "transform_ops": [
                {"ResizeImage": {"resize_short": 36}},
                {"CropImage": {"size": SIZE}},
                {
                    "NormalizeImage": {
                        "channel_num": 3,
                        "mean": [0.485, 0.456, 0.406],
                        "std": [0.229, 0.224, 0.225],
                        "order": "",
                        "scale": 0.00392156862745098,
                    }
                },
                {"ToCHWImage": None},
            ]
        },
        "PostProcess": {"Topk": {"topk": 1, "label_list": ["甲/乙", "丙"]}},
    }


class Cut(Exception):
    """The run was interrupted."""


class CutTrainer(Trainer):
    """Is interrupted after its second epoch, when the checkpoint is written."""

    def _keep(self, *arguments: object) -> None:
        super()._keep(*arguments)  # type: ignore[arg-type]
        if self._epoch == 2:
            raise Cut


@pytest.mark.slow
@pytest.mark.parametrize(
    "recipe",
    [
        RECIPE,
        replace(RECIPE, optimizer="nadam", drop_epochs=(1, 2), quarter_turns=True, mixup=1.0),
        replace(RECIPE, optimizer="adamw", aspect=1.0, early_stop=1, learning_rate=1e-9),
    ],
    ids=["momentum", "nadam", "early stop"],
)
def test_an_interrupted_run_ends_with_the_weights_of_a_whole_one(
    tmp_path: Path, recipe: Recipe
) -> None:
    train, val = noise(16), noise(6)

    def run(kind: type[Trainer], folder: Path) -> None:
        # The optimizer's state is named by counters, which are new in a new process; as here.
        with paddle.utils.unique_name.guard():
            trainer = kind(network(), recipe, train, val, folder)
            assert trainer.resume() == (folder / "last.pdparams").is_file()
            trainer.fit()

    run(Trainer, tmp_path / "whole")
    with pytest.raises(Cut):
        run(CutTrainer, tmp_path / "cut")
    run(Trainer, tmp_path / "cut")
    whole, cut = (paddle.load(str(tmp_path / name / "final.pdparams")) for name in ("whole", "cut"))
    assert list(whole) == list(cut)
    assert all(np.array_equal(whole[key].numpy(), cut[key].numpy()) for key in whole)
    assert metrics(tmp_path / "whole") == metrics(tmp_path / "cut")


def metrics(run: Path) -> list[dict[str, float]]:
    lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
