"""Runs in an environment with PyTorch's and Keras' libraries: a small classifier of each, exported.

    framework_models.py FRAMEWORK FOLDER IMAGE...

Writes the export into FOLDER/export, as the documentation shows it, and FOLDER/scores.csv with what
the framework itself answers on the images, prepared by itself. Weights are random, of a fixed seed,
and the last layer is enlarged: scores must not all be alike. Imports nothing of this project.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

warnings.filterwarnings("ignore")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("YOLO_OFFLINE", "true")

Scores = list[list[float]]
CLASSES = 10


def torchvision(export: Path, images: list[str]) -> Scores:
    import torch
    from PIL import Image
    from torchvision.models import resnet18
    from torchvision.transforms._presets import ImageClassification

    torch.manual_seed(0)
    net = resnet18(num_classes=CLASSES)
    # statistics of the layers as after training, so that images get different scores
    prepare = ImageClassification(crop_size=224)
    batch = torch.stack([prepare(Image.open(file).convert("RGB")) for file in images])
    for _ in range(20):
        net(batch)
    net.fc.weight.data *= 20
    return _torch(net.eval(), batch, export, "x")


def timm(export: Path, images: list[str]) -> Scores:
    import timm as package
    import torch
    from PIL import Image
    from timm.models._hub import save_config_for_hf

    torch.manual_seed(0)
    net = package.create_model(
        "vit_tiny_patch16_224",
        num_classes=CLASSES,
        pretrained_cfg_overlay={"crop_mode": "border", "crop_pct": 0.9},
    ).eval()
    names = [f"class {number}" for number in range(CLASSES)]
    save_config_for_hf(net, str(export / "config.json"), model_config={"label_names": names})
    prepare = package.data.create_transform(**package.data.resolve_model_data_config(net))
    batch = torch.stack([prepare(Image.open(file).convert("RGB")) for file in images])
    net.head.weight.data *= 60
    return _torch(net, batch, export, "x")


def huggingface(export: Path, images: list[str]) -> Scores:
    import torch
    from PIL import Image
    from transformers import ConvNextConfig, ConvNextForImageClassification
    from transformers.models.convnext.image_processing_pil_convnext import (
        ConvNextImageProcessorPil,
    )

    torch.manual_seed(0)
    labels = {number: f"class {number}" for number in range(CLASSES)}
    config = ConvNextConfig(
        depths=[1, 1, 1, 1], hidden_sizes=[16, 32, 64, 128], num_labels=CLASSES, id2label=labels
    )
    net = ConvNextForImageClassification(config).eval()
    net.classifier.weight.data *= 60
    processor = ConvNextImageProcessorPil(size={"shortest_edge": 224})
    processor.save_pretrained(export)
    config.save_pretrained(export)
    opened = [Image.open(file).convert("RGB") for file in images]
    batch = processor(opened, return_tensors="pt")["pixel_values"]

    class Logits(torch.nn.Module):
        def forward(self, pixel_values: Any) -> Any:
            return net(pixel_values).logits

    return _torch(Logits().eval(), batch, export, "pixel_values")


def _torch(net: Any, batch: Any, export: Path, parameter: str) -> Scores:
    import torch

    torch.onnx.export(
        net,
        (torch.randn(2, *batch.shape[1:]),),
        export / "model.onnx",
        dynamo=True,
        input_names=["input"],
        output_names=["logits"],
        dynamic_shapes={parameter: {0: torch.export.Dim("N")}},
    )
    with torch.no_grad():
        scores: Scores = net(batch).softmax(dim=1).tolist()
    return scores


def ultralytics(export: Path, images: list[str]) -> Scores:
    import shutil

    import torch
    from ultralytics import YOLO

    torch.manual_seed(0)
    model = YOLO("yolo11n-cls.yaml", task="classify")
    model.model.names = {number: f"class {number}" for number in range(len(model.model.names))}
    model.model.model[-1].linear.weight.data *= 60
    written = model.export(format="onnx", imgsz=96, dynamic=False)
    shutil.move(written, export / "model.onnx")
    found = YOLO(str(export / "model.onnx"), task="classify").predict(images, imgsz=96)
    return [result.probs.data.tolist() for result in found]


def keras(export: Path, images: list[str]) -> Scores:
    import keras as package
    import numpy as np

    package.utils.set_random_seed(0)
    layers = package.layers
    net = package.Sequential(
        [
            layers.Input((96, 96, 3)),
            layers.Conv2D(16, 5, strides=4, activation="relu"),
            layers.Conv2D(32, 3, strides=2, activation="relu"),
            layers.GlobalAveragePooling2D(),
            layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    weights, bias = net.layers[-1].get_weights()
    net.layers[-1].set_weights([weights * 30, bias])
    net(np.zeros((1, 96, 96, 3), np.float32))  # Keras exports what was called
    net.export(export / "model.onnx", format="onnx")
    loaded = [package.utils.load_img(file, target_size=(96, 96)) for file in images]
    batch = np.stack([package.utils.img_to_array(image) for image in loaded])
    scores: Scores = net.predict(
        package.applications.mobilenet_v2.preprocess_input(batch), verbose=0
    ).tolist()
    return scores


FRAMEWORKS: dict[str, Callable[[Path, list[str]], Scores]] = {
    "torchvision": torchvision,
    "timm": timm,
    "huggingface": huggingface,
    "ultralytics": ultralytics,
    "keras": keras,
}


def main(framework: str, folder: Path, images: list[str]) -> None:
    (folder / "export").mkdir()
    os.chdir(folder)  # some write beside what they are asked to
    scores = FRAMEWORKS[framework](folder / "export", images)
    with (folder / "scores.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", *range(len(scores[0]))])
        for image, row in zip(images, scores, strict=True):
            writer.writerow([Path(image).name, *map(repr, row)])
    json.dump(len(scores[0]), sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
