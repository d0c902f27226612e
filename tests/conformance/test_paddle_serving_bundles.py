"""Our bundles in the official Paddle Serving 0.9, and its bundles in ours."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import load_bundle
from bundle.model_config import (
    ModelConfig,
    TensorSpec,
    read_model_config,
    to_prototxt,
    to_stream,
    write_model_config,
)
from client.rpc_client import RpcClient
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess
from tests.patience import PATIENCE_S

IMAGES = {
    "ppocr": ["textline_orientation_test_0_0.png", "textline_orientation_test_1_0.png"],
    "imagenet": ["egypt_cat.jpg", "daisy.jpg"],
}


@pytest.mark.parametrize("onednn", [False, True], ids=["plain", "oneDNN"])
@pytest.mark.parametrize("name", list(IMAGES))
def test_the_local_predictor_loads_our_bundle_and_gives_our_scores(
    bundles: Path, shared: Path, official: Any, ours: Any, tmp_path: Path, name: str, onednn: bool
) -> None:
    bundle = load_bundle(bundles / name)
    preprocess = build_preprocess(bundle.description.transform_ops)
    images = {p: (shared / "images" / p).read_bytes() for p in IMAGES[name]}
    arrays = {p: preprocess(decode_image(data)) for p, data in images.items()}
    np.savez(tmp_path / "arrays.npz", **arrays)
    scores = official(
        "predict",
        server_dir=str(bundle.server_dir),
        arrays=str(tmp_path / "arrays.npz"),
        feed=bundle.model_config.feeds[0].alias,
        fetch=["prediction"],
        onednn=onednn,
    )
    with RpcClient(ours.endpoint, service=name, timeout_s=PATIENCE_S) as client:
        for image, data in images.items():
            theirs = scores[image]["prediction"]
            answer = client.classify(data, topk=len(theirs))
            assert answer[0].class_id == int(np.argmax(theirs))
            assert len(answer) == len(theirs)
            for category in answer:
                assert category.score == pytest.approx(theirs[category.class_id], abs=1e-5)


OURS = ModelConfig(
    feeds=(
        TensorSpec("x", "x", "float32", (3, 224, 224)),
        TensorSpec("scale", "scale", "float16", (-1, 2)),
        TensorSpec("ids", "词", "int64", (1,), is_lod=True),
    ),
    fetches=(
        TensorSpec("softmax_0.tmp_0", "prediction", "float32", (1000,)),
        TensorSpec("text", "text", "string", ()),
    ),
)


def test_what_we_write_is_the_same_message_to_the_official_package(
    official: Any, tmp_path: Path
) -> None:
    write_model_config(OURS, tmp_path, "conf")
    text, stream = str(tmp_path / "conf.prototxt"), str(tmp_path / "conf.stream.prototxt")
    answer = official("message", files=[text, stream])
    assert answer[text] == answer[stream]
    assert base64.b64decode(answer[text]["bytes"]) == to_stream(OURS)
    feeds = answer[text]["fields"]["feed_var"]
    assert [feed["alias_name"] for feed in feeds] == ["x", "scale", "词"]
    assert [feed["feed_type"] for feed in feeds] == [1, 5, 0]
    assert [feed["is_lod_tensor"] for feed in feeds] == [False, False, True]
    assert feeds[1]["shape"] == [-1, 2]
    fetches = answer[text]["fields"]["fetch_var"]
    assert [fetch["fetch_type"] for fetch in fetches] == [1, 20]


def official_files(shared: Path) -> list[Path]:
    models = shared / "models"
    return [
        *sorted((models / "serving_uci_housing").glob("*/*.prototxt")),
        *sorted((models / "config_samples").glob("*.prototxt")),
    ]


def test_official_files_survive_a_round_trip_through_ours(
    shared: Path, official: Any, tmp_path: Path
) -> None:
    files = official_files(shared)
    assert len(files) >= 5
    before = official("message", files=[str(file) for file in files])
    rewritten = {}
    for number, file in enumerate(files):
        ours = read_model_config(file)
        if file.name.endswith(".stream.prototxt"):
            # Bytes, not only their meaning: 0.9's clients compare neither, but tools may.
            assert to_stream(ours) == file.read_bytes()
        rewritten[file] = tmp_path / f"{number}.prototxt"
        rewritten[file].write_text(to_prototxt(ours), encoding="utf-8")
    after = official("message", files=[str(file) for file in rewritten.values()])
    for file, copy in rewritten.items():
        assert after[str(copy)] == before[str(file)]
