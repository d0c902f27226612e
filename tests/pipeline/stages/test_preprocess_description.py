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
        ([{"NormalizeImage": {"std": [float("nan"), 1, 1]}}], "std is a number, or a list"),
        ([{"NormalizeImage": {"scale": "inf"}}], "scale is a finite number or"),
        ([{"NormalizeImage": None}, CHW], "order is '' before ToCHWImage"),
        ([CHW, NORMALIZE], "order is chw after ToCHWImage"),
        ([CHW, {"CropImage": {"size": 8}}], "CropImage must come before ToCHWImage"),
        ([CHW, CHW], "ToCHWImage must come before ToCHWImage"),
        (["Blur"], "unknown operator Blur"),
        ([{"ResizeImage": {"resize_short": 9, "rounding": "up"}}], "rounding is nearest or floor"),
        ([{"ResizeImage": {"resize_short": 9.5, "rounding": "floor"}}], "takes a whole number"),
        ([{"ResizeImage": {"resize_short": 9, "fit": "cover"}}], "fit belongs to size"),
        ([{"ResizeImage": {"size": 9, "fit": "tight"}}], "fit is inside, cover, crop or paddlex"),
        ([{"ResizeImage": {"size": 9, "backend": "pil", "interpolation": "area"}}], "with backend"),
        ([{"CropImage": {"size": 9, "rounding": "up"}}], "rounding is floor or even"),
        ([{"CropImage": {"size": 90_000, "fill": 0}}], "size is 90000 x 90000 pixels"),
        ([{"CropImage": {"size": 9, "fill": 256}}], "fill is a grey level from 0 to 255"),
        ([{"CropImage": {"size": 9, "fill": [True]}}], "fill is a grey level from 0 to 255"),
        ([{"NormalizeImage": {"scale": 1, "divisor": 255}}], "scale or divisor, not both"),
        ([{"NormalizeImage": {"divisor": 0}}], "divisor is a number"),
        ([{"NormalizeImage": {"divisor": "255 px"}}], "divisor is a finite number"),
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


def shape_of(resize: dict[str, Any], height: int, width: int) -> tuple[int, ...]:
    return build_preprocess([{"ResizeImage": resize}])(noise(height, width)).shape[:2]


def test_rounding_of_the_long_side() -> None:
    # 457 / 301 * 256 = 388.7
    assert shape_of({"resize_short": 256}, 301, 457) == (256, 389)
    assert shape_of({"resize_short": 256, "rounding": "floor"}, 301, 457) == (256, 388)
    assert shape_of({"resize_short": 256, "rounding": "floor"}, 457, 301) == (388, 256)


def test_fit_keeps_the_ratio_of_the_image() -> None:
    size = {"size": [60, 30], "backend": "pil"}
    assert shape_of({**size, "fit": "inside"}, 100, 100) == (30, 30)
    assert shape_of({**size, "fit": "cover"}, 100, 100) == (60, 60)
    assert shape_of({**size, "fit": "crop"}, 100, 100) == (30, 60)
    # rounded to nothing, a side keeps one pixel
    assert shape_of({**size, "fit": "inside"}, 1, 1000) == (1, 60)


def test_fit_crop_reads_the_centre_only() -> None:
    image = np.zeros((40, 100, 3), np.uint8)
    image[:, 30:70] = 200
    for backend in ("cv2", "pil"):
        resize = {"size": 20, "fit": "crop", "backend": backend, "interpolation": "nearest"}
        assert np.all(build_preprocess([{"ResizeImage": resize}])(image) == 200)


def test_a_crop_larger_than_the_image_is_filled() -> None:
    image = np.full((2, 5, 3), 9, np.uint8)
    for rounding, rows in (("even", [7, 9, 9, 7, 7]), ("floor", [7, 7, 9, 9, 7])):
        crop = {"size": [3, 5], "fill": 7, "rounding": rounding}
        result = build_preprocess([{"CropImage": crop}])(image)
        assert result.shape == (5, 3, 3)
        assert result[:, 0, 0].tolist() == rows
    crop = {"size": [7, 2], "fill": [1, 2, 3]}
    assert build_preprocess([{"CropImage": crop}])(image)[0, 0].tolist() == [1, 2, 3]


def test_rounding_of_a_crop() -> None:
    image = np.arange(8, dtype=np.uint8).reshape(1, 8, 1).repeat(3, axis=2)
    # three pixels too many: 1.5 at the left
    for rounding, first in (("floor", 1), ("even", 2)):
        crop = {"size": [5, 1], "rounding": rounding}
        assert build_preprocess([{"CropImage": crop}])(image)[0, 0, 0] == first


def test_a_divisor_divides() -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(256, 1, 1).repeat(3, axis=2)
    options = {"order": "", "divisor": 255, "mean": [0.5, 0.5, 0.5], "std": [0.3, 0.3, 0.3]}
    wanted = (pixels.astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.3)
    assert np.array_equal(build_preprocess([{"NormalizeImage": options}])(pixels), wanted)


def test_a_long_and_thin_image_is_cropped_before_it_is_filled() -> None:
    image = np.zeros((40_000_000, 1, 3), np.uint8)
    image[20_000_000] = 5
    result = build_preprocess([{"CropImage": {"size": 224, "fill": 9, "rounding": "even"}}])(image)
    assert result.shape == (224, 224, 3)  # 27 gigabytes the other way about
    assert result[112, :, 0].tolist() == [9.0] * 111 + [5.0] + [9.0] * 112
