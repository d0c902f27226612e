"""Presets for lines of text and for grey images: what they write, and what they refuse."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.describing.presets import preset
from converter.errors import ConversionError
from pipeline.stages.preprocess import build_preprocess


def prepare(name: str, image: np.ndarray) -> np.ndarray:
    operators = preset(name)
    assert operators is not None
    return build_preprocess(operators)(image)


def colours(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)


def test_paddleocr_takes_bgr_and_pads_lines_of_text_with_zeros() -> None:
    image = colours(48, 100)
    planes = prepare("paddleocr-cls", image)
    assert planes.shape == (3, 48, 192)
    assert np.array_equal(planes[:, :, 100:], np.zeros((3, 48, 92)))
    expected = (image[:, :, ::-1].transpose(2, 0, 1).astype(np.float32) / 255 - 0.5) / 0.5
    assert np.array_equal(planes[:, :, :100], expected)
    assert prepare("paddleocr-cls:size=32,100", image).shape == (3, 32, 100)


def test_grey_with_torchvision_has_one_mean() -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = colours(28, 28)
    planes = prepare("torchvision:resize=28,crop=28,grayscale=true,mean=0.1307,std=0.3081", image)
    grey = np.asarray(image_module.fromarray(image).convert("L"), np.float32)
    expected = (grey / 255 - np.float32(0.1307)) / np.float32(0.3081)
    assert np.array_equal(planes, expected[np.newaxis])


@pytest.mark.parametrize(
    ("mode", "formula"), [("pixels", lambda x: x), ("tf", lambda x: x / np.float32(127.5) - 1)]
)
def test_grey_with_keras(mode: str, formula: Any) -> None:
    image_module = pytest.importorskip("PIL.Image")
    image = colours(70, 50)
    planes = prepare(f"keras-{mode}:size=28,color_mode=grayscale", image)
    grey = image_module.fromarray(image).convert("L").resize((28, 28), 0)
    assert np.array_equal(planes, formula(np.asarray(grey, np.float32))[np.newaxis])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("torchvision:grayscale=true", "needs mean and std of one number each"),
        ("torchvision:grayscale=true,mean=0.1,0.2,0.3,std=1", "needs mean and std of one number"),
        ("keras-caffe:color_mode=grayscale", "goes with loader=load_img and with keras-tf or"),
        ("keras-tf:color_mode=grayscale,loader=dataset", "goes with loader=load_img"),
        ("keras-tf:color_mode=grey", "color_mode is one of rgb, grayscale, not 'grey'"),
        ("paddleocr-cls:size=48,192,3", "one number of pixels, or height,width"),
        ("paddleocr-cls:width=192", "has no option 'width' (its options: size)"),
    ],
)
def test_what_is_not_the_frameworks_is_refused(name: str, message: str) -> None:
    with pytest.raises(ConversionError) as caught:
        preset(name)
    assert message in str(caught.value)
