"""A training YAML without `Infer` gives the arrays that PaddleClas' dataset classes give."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from converter.describing.form import Source
from converter.describing.forms import read_description
from pipeline.stages.decode import decode_image
from pipeline.stages.preprocess import build_preprocess
from tests.patience import PATIENCE_S

DECODE = {"DecodeImage": {"to_rgb": True, "channel_first": False}}
STEPS: list[dict[str, Any]] = [
    {"ResizeImage": {"resize_short": 40, "interpolation": "bicubic", "backend": "pil"}},
    {"CropImage": {"size": 32}},
    {"NormalizeImage": {"scale": "1.0/255.0", "mean": [0.5, 0.4, 0.3], "order": ""}},
]
# Classes of datasets, and a line of the list that each reads.
LISTS = {
    "ImageNetDataset": "image.png 3\n",
    "MultiLabelDataset": "image.png\t0,1,0\n",
    "LogoDataset": "image_id\tlabel\tx\tpath\n1\t3\tx\timage.png\n",
    "ICartoonDataset": "image.png\t3\n",
    "CompCars": "image.png 3\n",
    "VeriWild": "image.png 3\n",
}
Datasets = Callable[[list[dict[str, Any]]], list[np.ndarray]]


@pytest.fixture
def datasets(root: Path, paddleclas_source: Path, tmp_path: Path) -> Datasets:
    """A function: datasets as in a YAML -> the array of the first image of each."""
    python = root / "build/paddleclas-env/bin/python"
    if not python.is_file():
        pytest.skip("PaddleClas is not here; make paddleclas-env makes its environment")

    def run(options: list[dict[str, Any]]) -> list[np.ndarray]:
        order = tmp_path / "order.json"
        order.write_text(json.dumps(options))
        script = str(root / "tests/conformance/paddleclas_side.py")
        done = subprocess.run(
            [str(python), "-W", "ignore", script, str(paddleclas_source), str(order)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return [np.load(tmp_path / f"{number}.npy") for number in range(len(options))]

    return run


def ours(dataset: dict[str, Any], data: bytes, folder: Path) -> np.ndarray:
    """The array of an image, by a training YAML that has this dataset."""
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump({"DataLoader": {"Eval": {"dataset": dataset}}}))
    return build_preprocess(read_description(Source(path)).transform_ops)(decode_image(data))


@pytest.mark.slow
def test_the_arrays_of_the_dataset_classes(datasets: Datasets, tmp_path: Path) -> None:
    image = np.random.default_rng(2).integers(0, 256, (61, 83, 3), np.uint8)
    data = cv2.imencode(".png", image)[1].tobytes()
    (tmp_path / "image.png").write_bytes(data)
    every = []
    for name, line in LISTS.items():
        (tmp_path / f"{name}.txt").write_text(line)
        # of these, CompCars alone decodes by itself
        steps = STEPS if name == "CompCars" else [DECODE, *STEPS]
        files = {"image_root": str(tmp_path), "cls_label_path": str(tmp_path / f"{name}.txt")}
        every.append({"name": name, **files, "transform_ops": steps})
    (tmp_path / "samples.txt").write_text("image.png\n")
    files = {"image_root": str(tmp_path), "sample_list_path": str(tmp_path / "samples.txt")}
    # CropImage does not take what this class hands on
    steps = [DECODE, {"ResizeImage": {"size": 32}}, STEPS[-1]]
    every.append({"name": "CustomLabelDataset", **files, "transform_ops": steps})
    for dataset, expected in zip(every, datasets(every), strict=True):
        assert np.array_equal(ours(dataset, data, tmp_path), expected), dataset["name"]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "key"), [("Cifar10", "labels"), ("Cifar100", "fine_labels")])
def test_the_arrays_of_cifar(datasets: Datasets, tmp_path: Path, name: str, key: str) -> None:
    image = np.random.default_rng(3).integers(0, 256, (32, 32, 3), np.uint8)
    batch = {"data": image.transpose(2, 0, 1).reshape(1, -1), key: [3]}
    content = pickle.dumps({name.encode(): value for name, value in batch.items()})
    archive = tmp_path / "cifar.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        member = tarfile.TarInfo("test_batch" if name == "Cifar10" else "test")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    options = {"mode": "test", "data_file": str(archive), "backend": "pil", "download": False}
    dataset = {"name": name, **options, "transform_ops": STEPS[-1:]}
    (expected,) = datasets([dataset])
    data = cv2.imencode(".png", image[:, :, ::-1])[1].tobytes()
    assert np.array_equal(ours(dataset, data, tmp_path), expected)
