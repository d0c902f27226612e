"""Models of one and four channels: converted, verified and served from grey and colour images."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle.bundle import Bundle
from converter.__main__ import main
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from pipeline.classifier import ClassifierSettings, load_classifier
from protocol.request import EncodedImage

Write = Callable[..., dict[str, np.ndarray]]

GREY = """\
- Grayscale: {backend: cv2}
- ResizeImage: {size: 8}
- NormalizeImage: {mean: [0.5], std: 0.5, scale: 1./255., order: ''}
"""
FOUR = """\
- ResizeImage: {size: 8}
- NormalizeImage: {channel_num: 4, mean: [0.4, 0.5, 0.6], std: [0.2, 0.3, 0.4], order: ''}
"""
PLANES = "- ToCHWImage:\n"


def image() -> np.ndarray:
    """Uint8 RGB of a model's size: a resize leaves it as it is."""
    return np.random.default_rng(2).integers(0, 256, (8, 8, 3), np.uint8)


def png(pixels: np.ndarray) -> bytes:
    bgr = pixels if pixels.ndim == 2 else pixels[:, :, ::-1]
    return bytes(cv2.imencode(".png", bgr)[1].tobytes())


def scores_of(bundle: Bundle, data: bytes) -> dict[str, float]:
    classifier = load_classifier(ClassifierSettings(model_dir=str(bundle.path)))
    (result,) = classifier.classify([EncodedImage(data, topk=3)])
    assert not isinstance(result, Exception)
    return {category.label: category.score for category in result}


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum())


class Model:
    """An export, its weights, and what converts it."""

    def __init__(self, folder: Path, write_onnx: Write, **options: Any) -> None:
        self.export = folder / "export"
        self.export.mkdir()
        self.weights = write_onnx(self.export / "net.onnx", **options)
        (self.export / "labels.txt").write_text("0\n1\n2\n")
        self._folder = folder

    def convert(self, operators: str) -> Bundle:
        steps = operators
        if "\n" in operators:
            (self._folder / "ops.yml").write_text(operators)
            steps = str(self._folder / "ops.yml")
        overrides = Overrides(preprocess=steps)
        return convert(ConvertOptions(self.export, self._folder / "bundle", overrides))

    def expected(self, prepared: np.ndarray) -> np.ndarray:
        """Scores of prepared pixels, [H, W, C]."""
        means = prepared.mean(axis=(0, 1))
        return softmax(means @ self.weights["fc.w"] + self.weights["fc.b"])


@pytest.mark.parametrize("pixels", [False, True])
@pytest.mark.parametrize("batch", [1, "N"])
def test_a_grey_model_answers_from_grey_and_from_colours(
    write_onnx: Write, tmp_path: Path, pixels: bool, batch: int | str
) -> None:
    model = Model(tmp_path, write_onnx, channels=1, pixels=pixels, batch=batch)
    bundle = model.convert(GREY if pixels else GREY + PLANES)
    grey = cv2.cvtColor(image(), cv2.COLOR_RGB2GRAY)
    expected = model.expected((grey[:, :, np.newaxis] / 255 - 0.5) / 0.5)
    for data in (png(image()), png(grey)):
        found = scores_of(bundle, data)
        assert [found[str(k)] for k in range(3)] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("pixels", [False, True])
def test_a_model_of_four_channels_gets_paddleclas_plane_of_zeros(
    write_onnx: Write, tmp_path: Path, pixels: bool
) -> None:
    model = Model(tmp_path, write_onnx, channels=4, pixels=pixels)
    bundle = model.convert(FOUR if pixels else FOUR + PLANES)
    colours = (image() / 255 - (0.4, 0.5, 0.6)) / (0.2, 0.3, 0.4)
    expected = model.expected(np.dstack([colours, np.zeros((8, 8))]))
    found = scores_of(bundle, png(image()))
    assert [found[str(k)] for k in range(3)] == pytest.approx(expected, abs=1e-5)


def test_a_model_that_pads_takes_small_images_only(write_onnx: Write, tmp_path: Path) -> None:
    model = Model(tmp_path, write_onnx)
    steps = "- PadImage: {size: 8}\n- NormalizeImage: {mean: 0, std: 1, order: ''}\n"
    bundle = model.convert(steps + PLANES)
    small = image()[:5, :6]
    prepared = np.zeros((8, 8, 3))
    prepared[:5, :6] = small / 255
    classifier = load_classifier(ClassifierSettings(model_dir=str(bundle.path)))
    classifier.warm_up([1])
    found = scores_of(bundle, png(small))
    assert [found[str(k)] for k in range(3)] == pytest.approx(model.expected(prepared), abs=1e-5)
    (refused,) = classifier.classify([EncodedImage(png(np.zeros((9, 9, 3), np.uint8)), topk=3)])
    assert "9 x 9 pixels and the model takes at most 8 x 8" in str(refused)


def test_a_grey_bundle_is_verified_and_inspected(
    write_onnx: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = Model(tmp_path, write_onnx, channels=1, batch=1)
    bundle = model.convert(GREY + PLANES)
    images = tmp_path / "images"
    images.mkdir()
    for name, pixels in (("colours", image()), ("grey", image()[:, :, 0])):
        (images / f"{name}.png").write_bytes(png(pixels))
    assert main(["verify", str(bundle.path), "--images", str(images)]) == 0
    assert main(["inspect", str(bundle.path)]) == 0
    assert "Grayscale" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("channels", "operators", "cause"),
    [
        (1, "imagenet-224", "begin transform_ops with Grayscale and give NormalizeImage one mean"),
        (4, "imagenet-224", "channel_num: 4 of NormalizeImage adds PaddleClas' plane of zeros"),
        (3, GREY + PLANES, "the model takes three channels: take Grayscale"),
        (
            1,
            "- Grayscale:\n- ResizeImage: {size: 8}\n- NormalizeImage: {order: ''}\n" + PLANES,
            "mean or std has 3 numbers and the image 1 channel here; give one of each",
        ),
        (
            4,
            "- ResizeImage: {size: 8}\n- NormalizeImage: {mean: [0, 0, 0, 0], std: 1, order: ''}\n"
            + PLANES,
            "images are decoded without alpha",
        ),
    ],
)
def test_what_does_not_fit_names_the_operator(
    write_onnx: Write, tmp_path: Path, channels: int, operators: str, cause: str
) -> None:
    model = Model(tmp_path, write_onnx, channels=channels)
    with pytest.raises(ConversionError) as caught:
        model.convert(operators)
    assert cause in str(caught.value)
