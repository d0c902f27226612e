"""Exports that are no plain [N, 3, H, W] -> float32 [N, classes], made and run for real."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paddle", reason="needs the extra cpu or gpu")

pytestmark = pytest.mark.slow

EXPORT = """
import sys, paddle
from paddle.static import InputSpec

class Net(paddle.nn.Layer):
    def __init__(self, kind):
        super().__init__()
        self.kind, self.dense = kind, paddle.nn.Linear(3, 5)

    def forward(self, x):
        if self.kind == "norm_over_channels":
            # as ConvNeXt does it, between its stages
            mean = paddle.mean(x, axis=1, keepdim=True)
            spread = paddle.mean((x - mean).pow(2), axis=1, keepdim=True)
            x = (x - mean) / paddle.sqrt(spread + 1e-6)
        pooled = paddle.mean(x, axis=[2, 3])
        if self.kind.startswith("fixed"):
            pooled = paddle.reshape(pooled, [int(self.kind[5:]), 3])
        scores = paddle.nn.functional.softmax(self.dense(pooled))
        if self.kind == "class_ids_and_scores":
            return paddle.argmax(scores, -1), scores
        return scores.astype("float16") if self.kind == "float16" else scores

for kind in sys.argv[2:]:
    paddle.seed(7)
    batch = int(kind[5:]) if kind.startswith("fixed") else -1
    spec = [InputSpec([batch, 3, 8, 8], "float32", name="x")]
    paddle.jit.save(Net(kind), f"{sys.argv[1]}/{kind}/inference", input_spec=spec)
"""

PREDICT = """
import json, sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from bundle import load_bundle
from pipeline.predictors import PredictorError, PredictorOptions, create_predictor

folder, options, forget = json.loads(sys.argv[1])
try:
    bundle = load_bundle(Path(folder))
    if forget:
        bundle = replace(bundle, fixed_batch=None)
    predictor = create_predictor(bundle, options=PredictorOptions(**options))
    batch = np.random.default_rng(3).standard_normal((5, 3, 8, 8)).astype("float32")
    scores = predictor.predict(batch)
    print(json.dumps({"rows": scores.tolist(), "dtype": str(scores.dtype)}))
except PredictorError as error:
    print(json.dumps({"error": str(error)}))
"""

DESCRIPTION = """
PreProcess:
  transform_ops:
  - ResizeImage: {size: 8}
  - NormalizeImage: {order: ''}
  - ToCHWImage:
"""
KINDS = [
    "plain",
    "norm_over_channels",
    "fixed1",
    "fixed2",
    "class_ids_and_scores",
    "float16",
]


@pytest.fixture(scope="module")
def bundles(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One bundle a kind, by the same weights."""
    folder = tmp_path_factory.mktemp("unusual")
    (folder / "preprocess.yml").write_text(DESCRIPTION, encoding="utf-8")
    (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n", encoding="utf-8")
    # A file: Paddle reads the source of what it exports.
    (folder / "export.py").write_text(EXPORT, encoding="utf-8")
    run(root, str(folder / "export.py"), str(folder / "exports"), *KINDS)
    for kind in KINDS:
        run(
            root,
            *("-m", "converter", "convert", str(folder / "exports" / kind)),
            *("--output", str(folder / kind)),
            *("--labels", str(folder / "labels.txt")),
            *("--preprocess", str(folder / "preprocess.yml")),
        )
    return folder


def run(root: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def predict(root: Path, bundle: Path, *, forget: bool = False, **options: Any) -> dict[str, Any]:
    """Five pictures at once; with `forget`, as if the bundle did not know its batch size."""
    told = run(root, "-c", PREDICT, json.dumps([str(bundle), options, forget]))
    answer: dict[str, Any] = json.loads(told.splitlines()[-1])
    return answer


@pytest.mark.parametrize("kind", ["fixed1", "fixed2", "class_ids_and_scores", "float16"])
def test_the_scores_are_those_of_the_plain_model(root: Path, bundles: Path, kind: str) -> None:
    plain, answer = predict(root, bundles / "plain"), predict(root, bundles / kind)
    assert answer["dtype"] == "float32"
    assert len(answer["rows"]) == 5
    for row, expected in zip(answer["rows"], plain["rows"], strict=True):
        assert row == pytest.approx(expected, abs=1e-3 if kind == "float16" else 1e-5)


def test_onednn_gives_the_scores_of_plain_kernels(root: Path, bundles: Path) -> None:
    """Paddle 3.3 with oneDNN overwrites a value that is still needed, unless it is told not to."""
    plain = predict(root, bundles / "norm_over_channels", onednn=False)["rows"]
    for row, expected in zip(
        predict(root, bundles / "norm_over_channels")["rows"], plain, strict=True
    ):
        assert row == pytest.approx(expected, abs=1e-5)


def test_paddle_prints_nothing_into_our_output(root: Path, bundles: Path) -> None:
    arguments = [str(bundles / "norm_over_channels"), {}, False]
    told = run(root, "-c", PREDICT, json.dumps(arguments))
    assert told.count("\n") == 1, told


def test_a_batch_that_the_graph_cannot_take_is_told(root: Path, bundles: Path) -> None:
    # As bundles of other converters are: nothing says that the graph takes one picture a run.
    assert "error" in predict(root, bundles / "fixed1", forget=True)


def test_class_numbers_are_no_scores(root: Path, bundles: Path) -> None:
    told = predict(root, bundles / "class_ids_and_scores", fetch="fetch_name_0")["error"]
    assert "scores are needed" in told


def test_a_device_that_paddle_would_quietly_replace_by_the_cpu(root: Path, bundles: Path) -> None:
    assert "cpu or gpu, not on 'xpu'" in predict(root, bundles / "plain", device="xpu")["error"]
    import paddle

    if not paddle.is_compiled_with_cuda():
        told = predict(root, bundles / "plain", device="gpu")["error"]
        assert "this Paddle is built for the CPU" in told
