"""Runs in an environment with PyTorch's and Keras' libraries: images through their preprocessing.

Reads a list of cases as JSON from stdin and writes, into the folder it is given, one `.npz` of
arrays for each, and `answers.json` with documents that the packages write, and their versions.
Imports nothing of this project but the images.
"""

from __future__ import annotations

import importlib.metadata
import io
import json
import os
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent))
warnings.filterwarnings("ignore")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

from framework_images import SIZES, image  # noqa: E402

Prepare = Callable[[Any], Any]
PACKAGES = (
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "ultralytics",
    "keras",
    "tensorflow_cpu",
    "pillow",
    "numpy",
)


def torchvision(parameters: dict[str, Any]) -> tuple[Prepare, Any]:
    from torchvision.transforms import Compose, Grayscale, InterpolationMode
    from torchvision.transforms._presets import ImageClassification

    given = dict(parameters)
    before = [Grayscale()] if given.pop("grayscale", False) else []
    if "interpolation" in given:
        given["interpolation"] = InterpolationMode(given["interpolation"])
    return Compose([*before, ImageClassification(**given)]), None


def timm(cfg: dict[str, Any]) -> tuple[Prepare, Any]:
    from timm.data import create_transform, resolve_data_config

    transform = create_transform(**resolve_data_config({}, pretrained_cfg=cfg))
    return transform, {"architecture": "resnet18", "num_classes": 3, "pretrained_cfg": cfg}


def timm_catalogue(_: dict[str, Any]) -> tuple[None, Any]:
    """What timm says of every model that it has weights for."""
    import timm as package

    names = package.list_pretrained()
    return None, {name: package.get_pretrained_cfg(name).to_dict() for name in names}


def huggingface(parameters: dict[str, Any]) -> tuple[Prepare, Any]:
    from transformers.models.auto.image_processing_auto import (
        get_image_processor_class_from_name as find,
    )

    given = dict(parameters)
    backend = given.pop("backend", "Pil")
    processor = find(given.pop("class") + backend)(**given)
    return lambda pixels: processor(pixels, return_tensors="np")["pixel_values"][0], json.loads(
        processor.to_json_string()
    )


def ultralytics(parameters: dict[str, Any]) -> tuple[Prepare, Any]:
    from ultralytics.data.augment import classify_transforms

    return classify_transforms(**parameters), None


def keras(parameters: dict[str, Any]) -> tuple[Prepare, Any]:
    import keras as package

    given = dict(parameters)
    mode, loader = given.pop("mode"), given.pop("loader", "load_img")

    def prepare(pixels: Any) -> Any:
        if loader == "dataset":
            array = _dataset(package, pixels, given)
        else:
            loaded = package.utils.load_img(io.BytesIO(_png(pixels)), **given)
            array = package.utils.img_to_array(loaded)
        if mode != "pixels":
            preprocess_input = package.applications.imagenet_utils.preprocess_input
            array = preprocess_input(array[None], mode=mode)[0]
        return np.asarray(array).transpose(2, 0, 1)

    return prepare, None


def _dataset(package: Any, pixels: Any, options: dict[str, Any]) -> Any:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "0.png").write_bytes(_png(pixels))
        dataset = package.utils.image_dataset_from_directory(
            folder, labels=None, batch_size=1, shuffle=False, verbose=False, **options
        )
        return next(iter(dataset)).numpy()[0]


def _png(pixels: Any) -> bytes:
    out = io.BytesIO()
    pixels.save(out, "PNG", compress_level=0)
    return out.getvalue()


FRAMEWORKS: dict[str, Callable[[dict[str, Any]], tuple[Prepare | None, Any]]] = {
    "torchvision": torchvision,
    "timm": timm,
    "timm_catalogue": timm_catalogue,
    "huggingface": huggingface,
    "ultralytics": ultralytics,
    "keras": keras,
}


def main(folder: Path) -> None:
    from PIL import Image

    documents = {}
    for number, case in enumerate(json.load(sys.stdin)):
        prepare, documents[case["name"]] = FRAMEWORKS[case["framework"]](case["parameters"])
        if prepare is None:
            continue
        arrays = []
        for name in case["images"]:
            # a file is opened as each of them shows it
            pixels = image(name) if name in SIZES else Image.open(name).convert("RGB")
            given = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
            arrays.append(np.ascontiguousarray(prepare(given), np.float32))
        np.savez(folder / f"{number}.npz", *arrays)
    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    answers = {"documents": documents, "versions": versions}
    (folder / "answers.json").write_text(json.dumps(answers), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
