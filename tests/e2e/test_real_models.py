"""Models that others exported: convert, serve, and answer as their makers say, over both wires.

Scores are compared with a direct run of paddle.inference on the array that our preprocessing makes;
that this array is PaddleClas' own is shown in tests/conformance.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bundle import load_bundle
from client.http_client import HttpClient
from client.rpc_client import RpcClient
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess
from tests.patience import PATIENCE_S

# Four Paddle models are converted and started.
pytestmark = pytest.mark.slow

# What its own project does before ch_ppocr's classifier: 48 x 192, pixels to -1..1.
PPOCR_CLS = """
PreProcess:
  transform_ops:
  - ResizeImage: {size: [192, 48]}
  - NormalizeImage: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], order: '', scale: 1.0/255.0}
  - ToCHWImage:
"""

TEXTLINES = {
    "textline_orientation_test_0_0.png": 0,
    "textline_orientation_test_0_1.png": 0,
    "textline_orientation_test_1_0.png": 1,
    "textline_orientation_test_1_1.png": 1,
}
KNOWN = {
    "textline_ori": TEXTLINES,
    "doc_ori": {"img_rot0_demo.jpg": 0, "img_rot180_demo.jpg": 2},
    "ppocr_cls": TEXTLINES,
    "imagenet": {
        "egypt_cat.jpg": 281,
        "ILSVRC2012_val_00000010.jpeg": 153,
        "ILSVRC2012_val_00020010.jpeg": 178,
        "ILSVRC2012_val_00030010.jpeg": 80,
        "daisy.jpg": 985,
    },
}
LABELS = {"textline_ori": ["0_degree", "180_degree"], "doc_ori": ["0", "90", "180", "270"]}


@pytest.fixture(scope="module")
def bundles(shared: Path, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The four models, each converted with the command its user would type."""
    folder = tmp_path_factory.mktemp("models")
    (folder / "ppocr.yml").write_text(PPOCR_CLS, encoding="utf-8")
    (folder / "ppocr.txt").write_text("0\n180\n", encoding="utf-8")
    models = shared / "models"
    ppocr = ["--preprocess", str(folder / "ppocr.yml"), "--labels", str(folder / "ppocr.txt")]
    synset = ["--preprocess", "imagenet-224", "--labels", str(models / "synset_words.txt")]
    for name, export, options in (
        ("textline_ori", "PP-LCNet_x0_25_textline_ori", []),
        ("doc_ori", "PP-LCNet_x1_0_doc_ori", []),
        ("ppocr_cls", "ch_ppocr_mobile_v2_cls_infer", ppocr),
        ("imagenet", "imagenet_shufflenetv2_fluid_sep", synset),
    ):
        command = [
            "convert",
            str(models / export),
            "--no-onnx",
            "--output",
            str(folder / name),
            *options,
        ]
        done = subprocess.run(
            [sys.executable, "-m", "converter", *command],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def service(bundles: Path, start_service: Any) -> Iterator[Any]:
    """All four on the same two ports."""
    op = {
        name: {"concurrency": 1, "local_service_conf": {"model_config": str(bundles / name)}}
        for name in KNOWN
    }
    config = bundles / "config.yml"
    config.write_text(yaml.safe_dump({"http_port": 0, "op": op}), encoding="utf-8")
    with start_service(config) as service:
        yield service


@pytest.fixture(scope="module")
def direct(bundles: Path, shared: Path, root: Path) -> dict[str, dict[str, list[float]]]:
    """Scores of paddle.inference without any code of ours after the preprocessing."""
    order = {}
    for name, known in KNOWN.items():
        bundle = load_bundle(bundles / name)
        preprocess = build_preprocess(bundle.description.transform_ops)
        arrays = {p: preprocess(decode_image((shared / "images" / p).read_bytes())) for p in known}
        np.savez(bundles / f"{name}.npz", **arrays)
        params = str(bundle.params_file) if bundle.params_file else None
        order[name] = [str(bundle.model_file), params, str(bundles / f"{name}.npz")]
    # In a process of its own, so that neither side's settings touch the other.
    done = subprocess.run(
        [sys.executable, str(root / "tests" / "e2e" / "direct_inference.py")],
        input=json.dumps(order),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, dict[str, list[float]]] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.mark.parametrize("wire", ["http", "rpc"])
@pytest.mark.parametrize("name", list(KNOWN))
def test_known_images_get_the_known_answer_and_the_direct_score(
    service: Any, direct: dict[str, dict[str, list[float]]], shared: Path, name: str, wire: str
) -> None:
    with (
        HttpClient(service.url, service=name, timeout_s=PATIENCE_S)
        if wire == "http"
        else RpcClient(service.endpoint, service=name, timeout_s=PATIENCE_S)
    ) as client:
        for image, known in KNOWN[name].items():
            answer = client.classify(shared / "images" / image, topk=10_000)
            scores = direct[name][image]
            assert answer[0].class_id == known
            assert len(answer) == len(scores)
            for category in answer:
                assert category.score == pytest.approx(scores[category.class_id], abs=1e-5)
            if name in LABELS:
                assert answer[0].label == LABELS[name][known]
