"""Models of PyTorch's and Keras' libraries, exported, converted and served, answer as there.

Each framework prepares the images and computes the scores by itself, in its own environment.
"""

from __future__ import annotations

import csv
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from bundle import load_bundle
from client.http_client import HttpClient
from converter.__main__ import main
from pipeline.classifier import Classifier
from pipeline.predictors import create_predictor
from tests.conformance.framework_images import SIZES, image
from tests.conformance.frameworks import HERE, Case, Frameworks

pytestmark = pytest.mark.slow
TOLERANCE = 1e-4
PRESETS = {"torchvision": "torchvision-224", "keras": "keras-tf-96"}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of files in which a wrong resize is seen: fine stripes, of several sizes."""
    folder = tmp_path / "images"
    folder.mkdir()
    for name in SIZES:
        if name not in ("12 megapixels", "pixel", "thin"):
            path = folder / f"{name.replace(' ', '_')}.jpg"
            cv2.imwrite(str(path), image(name)[:, :, ::-1])
    return folder


def export(frameworks: Frameworks, framework: str, folder: Path, images: Path) -> int:
    """Let a framework export a model and score the images; return the number of its classes."""
    script = HERE / "framework_models.py"
    files = sorted(map(str, images.iterdir()))
    done = subprocess.run(
        [str(frameworks.python), str(script), framework, str(folder), *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return int(done.stdout.splitlines()[-1])


def convert(folder: Path, *options: str, bundle: str = "bundle") -> Path:
    given = [str(folder / "export"), "--output", str(folder / bundle), *options]
    assert main(["convert", *given]) == 0
    return folder / bundle


def classifier(folder: Path) -> Classifier:
    bundle = load_bundle(folder)
    return Classifier(bundle, create_predictor(bundle))


def verify(bundle: Path, images: Path, scores: Path) -> int:
    return main(["verify", str(bundle), "--images", str(images), "--reference", str(scores)])


@pytest.mark.parametrize(
    "framework", ["torchvision", "timm", "huggingface", "ultralytics", "keras"]
)
def test_scores_equal_the_frameworks(
    frameworks: Frameworks, framework: str, tmp_path: Path, images: Path
) -> None:
    classes = export(frameworks, framework, tmp_path, images)
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"class {number}\n" for number in range(classes)))
    options = []
    if framework in PRESETS:
        options += ["--preprocess", PRESETS[framework], "--labels", str(labels)]
    if framework in ("torchvision", "timm"):
        options += ["--softmax"]
    bundle = convert(tmp_path, *options)
    assert verify(bundle, images, tmp_path / "scores.csv") == 0
    # the comparison sees what it must: Paddle's preset for the same model is found out
    wrong = ["--preprocess", "imagenet-224", "--labels", str(labels)]
    if framework in ("torchvision", "timm", "huggingface"):
        wrong += ["--softmax"]
        paddles = convert(tmp_path, *wrong, bundle="paddles")
        assert verify(paddles, images, tmp_path / "scores.csv") == 1


def test_a_service_answers_as_torchvision(
    frameworks: Frameworks,
    tmp_path: Path,
    images: Path,
    start_service: Callable[..., Any],
) -> None:
    classes = export(frameworks, "torchvision", tmp_path, images)
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"{number}\n" for number in range(classes)))
    options = ["--preprocess", "torchvision-224", "--labels", str(labels), "--softmax"]
    convert(tmp_path, *options, "--topk", str(classes))
    config = tmp_path / "config.yml"
    op = {"net": {"concurrency": 1, "local_service_conf": {"model_config": "bundle"}}}
    config.write_text(yaml.safe_dump({"http_port": 0, "op": op}))
    with (
        start_service(config) as service,
        HttpClient(f"{service.url}/net/prediction") as client,
        (tmp_path / "scores.csv").open(newline="") as file,
    ):
        for row in csv.DictReader(file):
            found = client.classify(images / row.pop("image"), topk=classes)
            scores = {category.label: category.score for category in found}
            for label, score in row.items():
                assert abs(scores[label] - float(score)) <= TOLERANCE


def test_a_trained_shufflenet_answers_as_with_torchvisions_images(
    frameworks: Frameworks, shared: Path, tmp_path: Path
) -> None:
    """PaddleClas' network, and images as torchvision prepares them: where .786 became .537."""
    models = shared / "models"
    shutil.copytree(models / "imagenet_shufflenetv2_fluid_sep", tmp_path / "export")
    labels = ["--labels", str(models / "synset_words.txt")]
    files = tuple(str(path) for path in sorted((shared / "images").glob("*.jp*g")))
    _, (theirs,) = frameworks.run([Case("files", "torchvision", {"crop_size": 224}, images=files)])
    bundle = convert(tmp_path, "--preprocess", "torchvision-224", *labels)
    served = classifier(bundle)
    changed = 0.0
    paddles = classifier(
        convert(tmp_path, "--preprocess", "imagenet-224", *labels, bundle="paddles")
    )
    for file in files:
        data = Path(file).read_bytes()
        wanted = served.predictor.predict(theirs[file][np.newaxis])[0]
        ours = served.predictor.predict(served.preprocess(served.decode(data))[np.newaxis])[0]
        assert np.abs(ours - wanted).max() <= TOLERANCE, file
        other = paddles.predictor.predict(paddles.preprocess(paddles.decode(data))[np.newaxis])[0]
        changed = max(changed, float(np.abs(other - wanted).max()))
    assert changed > 0.2
