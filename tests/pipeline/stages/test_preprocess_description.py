"""`transform_ops` are checked when the chain is built, not at the first image."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess

NORMALIZE = {"NormalizeImage": {"order": ""}}
CHW: dict[str, Any] = {"ToCHWImage": None}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ([{"ResizeImage": {"resize_short": -5}}], "needs size or resize_short above 0"),
        ([{"ResizeImage": {"resize_short": "abc"}}], "resize_short is a number of pixels"),
        ([{"ResizeImage": {"resize_short": True}}], "resize_short is a number of pixels"),
        ([{"ResizeImage": {"size": True}}], "ResizeImage: size"),
        ([{"ResizeImage": {"size": 64, "interpolation": 1}}], "interpolation is one of"),
        ([{"ResizeImage": {"size": 64, "backend": None}}], "backend is cv2 or pil"),
        ([{"ResizeImage": 256}], "ResizeImage takes options by name, not 256"),
        ([{"CropImage": [224, 224]}], "CropImage takes options by name"),
        ([{"DecodeImage": {"to_rbg": False}}], "DecodeImage does not take these options"),
        ([{"DecodeImage": {"to_rgb": "False"}}], "to_rgb is true or false, not 'False'"),
        ([{"ToCHWImage": {"order": "chw"}}], "options: {'order': 'chw'}; it takes none"),
        ([{"NormalizeImage": {"std": [float("nan"), 1, 1]}}], "std is three numbers"),
        ([{"NormalizeImage": {"scale": "inf"}}], "scale is a finite number"),
        ([{"NormalizeImage": None}, CHW], "order is '' before ToCHWImage"),
        ([CHW, NORMALIZE], "order is chw after ToCHWImage"),
        ([CHW, {"CropImage": {"size": 8}}], "CropImage must come before ToCHWImage"),
        ([CHW, CHW], "ToCHWImage must come before ToCHWImage"),
        (["Blur"], "unknown operator Blur"),
    ],
)
def test_an_impossible_description_is_an_error_at_once(operators: list[Any], message: str) -> None:
    with pytest.raises(PreprocessError) as caught:
        build_preprocess(operators)
    assert message in str(caught.value)


def test_a_resize_short_of_nothing_leaves_it_to_size() -> None:
    for short in (0, -1, None):
        resize = {"ResizeImage": {"resize_short": short, "size": [64, 32]}}
        assert build_preprocess([resize, NORMALIZE, CHW])(noise(50, 60)).shape == (3, 32, 64)


def test_decoding_options_of_paddleclas_are_accepted() -> None:
    written = {"to_rgb": True, "to_np": False, "channel_first": False}
    image = noise(20, 30)
    chain = [{"ResizeImage": {"size": 16}}, NORMALIZE, CHW]
    decoded_first = build_preprocess([{"DecodeImage": written}, *chain])(image)
    assert np.array_equal(decoded_first, build_preprocess(chain)(image))


@pytest.mark.parametrize("backend", ["cv2", "pil"])
def test_turned_channels_go_through_a_whole_chain(backend: str) -> None:
    if backend == "pil":
        pytest.importorskip("PIL", reason="the pil backend is Pillow's")
    image = noise(90, 70)
    chain = [
        {"ResizeImage": {"resize_short": 64, "backend": backend}},
        {"CropImage": {"size": 56}},
        NORMALIZE,
        CHW,
    ]
    turned = build_preprocess([{"DecodeImage": {"to_rgb": False}}, *chain])(image)
    expected = build_preprocess(chain)(np.ascontiguousarray(image[:, :, ::-1]))
    assert np.array_equal(turned, expected)


def test_a_crop_before_the_resize_forbids_fast_decoding() -> None:
    operators = [{"CropImage": {"size": 224}}, {"ResizeImage": {"size": 64}}]
    assert build_preprocess(operators).short_side is None


def test_the_descriptions_of_real_exports_build(shared: Any) -> None:
    files = sorted((shared / "models").glob("*/inference.yml"))
    assert files
    for file in files:
        description = yaml.safe_load(file.read_text(encoding="utf-8"))
        preprocess = build_preprocess(description["PreProcess"]["transform_ops"])
        assert preprocess(noise(300, 401)).shape[0] == 3
