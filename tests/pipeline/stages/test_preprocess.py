from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bundle.inference_yml import TransformOp
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import InvalidRequest, TooLarge

NORMALIZE = {"NormalizeImage": {"order": ""}}
IMAGENET: list[Any] = [
    {"ResizeImage": {"resize_short": 256}},
    {"CropImage": {"size": 224}},
    NORMALIZE,
    {"ToCHWImage": None},
]


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_the_usual_chain_gives_planes_of_float32() -> None:
    result = build_preprocess(IMAGENET)(noise(300, 401))
    assert (result.dtype, result.shape) == (np.float32, (3, 224, 224))
    assert result.flags.c_contiguous


def test_the_table_gives_the_formula_bit_for_bit() -> None:
    image = noise(50, 60)
    options = {"mean": [0.1, 0.5, 0.9], "std": [0.3, 0.2, 0.7], "scale": "1.0/255.0", "order": ""}
    result = build_preprocess([{"NormalizeImage": options}, {"ToCHWImage": None}])(image)
    mean, std = np.float32([0.1, 0.5, 0.9]), np.float32([0.3, 0.2, 0.7])
    formula = (image.astype(np.float32) * np.float32(1 / 255) - mean) / std
    assert np.array_equal(result, formula.transpose(2, 0, 1))


def test_planes_first_is_the_same() -> None:
    image = noise(30, 40)
    first = [{"ToCHWImage": None}, {"NormalizeImage": {"order": "chw"}}]
    last = [NORMALIZE, {"ToCHWImage": None}]
    assert np.array_equal(build_preprocess(first)(image), build_preprocess(last)(image))


def test_operators_come_from_a_bundle_or_from_yaml() -> None:
    image = noise(300, 300)
    objects = [TransformOp(name, op[name] or {}) for op in IMAGENET for name in op]
    assert np.array_equal(build_preprocess(objects)(image), build_preprocess(IMAGENET)(image))


def test_a_model_that_wants_bgr_gets_it() -> None:
    image = noise(8, 8)
    chain = [NORMALIZE, {"ToCHWImage": None}]
    turned = build_preprocess([{"DecodeImage": {"to_rgb": False}}, *chain])(image)
    assert np.array_equal(turned, build_preprocess(chain)(image[:, :, ::-1]))


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        (
            [{"Blur": {}}],
            "unknown operator Blur in transform_ops; known: DecodeImage, ToFloat32, Grayscale",
        ),
        ([{"ResizeImage": {}}], "needs size or resize_short"),
        ([{"ResizeImage": {"size": [1, 2, 3]}}], "ResizeImage: size"),
        ([{"ResizeImage": {"size": -1}}], "ResizeImage: size"),
        ([{"ResizeImage": {"size": 9, "interpolation": "magic"}}], "interpolation is one of"),
        ([{"ResizeImage": {"size": 9, "backend": "gpu"}}], "backend is cv2 or pil"),
        (
            [{"ResizeImage": {"sizes": 9}}],
            "does not take these options: {'sizes': 9}; it takes size,",
        ),
        ([{"CropImage": {"size": "all"}}], "CropImage: size"),
        ([{"NormalizeImage": {"scale": "__import__('os')"}}], "scale is a finite number"),
        ([{"NormalizeImage": {"scale": "1/0"}}], "scale is a finite number"),
        ([{"NormalizeImage": {"mean": [1, 2]}}], "mean is a number, or a list of three"),
        ([{"NormalizeImage": {"std": [1, 0, 1]}}], "std is not zero"),
        ([{"NormalizeImage": {"channel_num": 5}}], "channel_num is 5 and mean has 3"),
        ([{"DecodeImage": {"channel_first": True}}], "channel_first"),
        ([{"A": 1, "B": 2}], "one operator"),
    ],
)
def test_an_unknown_operator_or_option_is_named(operators: list[Any], message: str) -> None:
    with pytest.raises(PreprocessError) as caught:
        build_preprocess(operators)
    assert message in str(caught.value)


def test_an_image_smaller_than_the_crop() -> None:
    with pytest.raises(InvalidRequest, match="40 x 30 pixels and the model needs 224 x 224"):
        build_preprocess([{"CropImage": {"size": 224}}])(noise(30, 40))


def test_a_long_thin_image_is_refused_instead_of_filling_memory() -> None:
    thin = np.zeros((1, 50_000, 3), np.uint8)
    with pytest.raises(TooLarge, match="12800000 x 256"):
        build_preprocess(IMAGENET)(thin)


@pytest.mark.parametrize(
    ("operators", "short_side"),
    [
        (IMAGENET, 256),
        ([{"ResizeImage": {"size": [160, 80]}}], 160),
        ([{"ResizeImage": {"size": 64}}], 64),
        ([{"CropImage": {"size": 64}}], None),
    ],
)
def test_the_size_that_fast_decoding_must_keep(operators: list[Any], short_side: int) -> None:
    assert build_preprocess(operators).short_side == short_side
