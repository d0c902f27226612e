"""Operators that keep the ratio, pad or make grey: results, errors, bounds."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pipeline.stages.errors import PreprocessError
from pipeline.stages.operators.number import number
from pipeline.stages.operators.refused import reason_against
from pipeline.stages.operators.resampling import MAX_RESIZED_PIXELS
from pipeline.stages.operators.table import OPERATORS
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import InvalidRequest, TooLarge

NORMALIZE: dict[str, Any] = {"NormalizeImage": {"order": ""}}
CHW: dict[str, Any] = {"ToCHWImage": None}


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.parametrize(
    ("side", "top", "left"), [("right", 0, 0), ("center", 2, 3), ("left", 5, 7)]
)
def test_padding_puts_the_image_where_its_side_says(side: str, top: int, left: int) -> None:
    image = noise(4, 6)
    pad = {"PadImage": {"size": [13, 9], "side": side, "value": [1, 2, 3]}}
    padded = build_preprocess([pad])(image)
    assert np.array_equal(padded[top : top + 4, left : left + 6], image)
    padded[top : top + 4, left : left + 6] = (1, 2, 3)
    assert np.array_equal(padded, np.broadcast_to(np.float32([1, 2, 3]), (9, 13, 3)))


def test_padding_after_the_normalisation_counts_in_the_models_numbers() -> None:
    pad = {"PadImage": {"size": [8, 6], "value": -2.5}}
    planes = build_preprocess([NORMALIZE, pad, CHW])(noise(4, 5))
    assert planes.shape == (3, 6, 8)
    assert (planes[:, 4:] == -2.5).all()
    assert (planes[:, :, 5:] == -2.5).all()
    plain = build_preprocess([NORMALIZE, CHW])(noise(4, 5))
    assert np.array_equal(planes[:, :4, :5], plain)


@pytest.mark.parametrize(
    "steps",
    [
        [{"PadImage": {"size": 8}}],
        [{"Padv2": {"size": 8}}],
        [{"Padv2": {"size": 8, "pad_mode": -1, "offsets": [7, 0]}}],
        [{"Pad": {"size": [8, 8]}}],
    ],
)
def test_an_image_larger_than_the_padding_is_the_callers_error(steps: list[Any]) -> None:
    with pytest.raises(InvalidRequest, match="the image has 20 x 9 pixels and the model takes at"):
        build_preprocess(steps)(noise(9, 20))


@pytest.mark.parametrize(
    "steps",
    [
        [{"ResizeImage": {"size": [40_000, 40_000], "fit": "inside"}}],
        [{"ResizeByLong": {"long_size": 40_000}}],
        [{"ResizeToHeight": {"height": 40_000, "max_width": 40_000}}],
        [{"Resize": {"target_size": 40_000}}],
        [{"Resize": {"target_size": 40_000, "keep_ratio": False}}],
        [{"CropImageAtRatio": {"size": 40_000, "pad": 1}}],
        [{"PadImage": {"size": 40_000}}],
        [{"Padv2": {"size_divisor": 40_000}}],
        [{"Pad": {"padding": 40_000}}],
        [CHW, {"PadStride": {"stride": 40_000}}],
        [{"LetterBox": {"new_shape": 40_000}}],
        [{"LetterBox": {"new_shape": 40_000, "scaleup": False}}],
        [{"ClassifyLetterBox": {"size": 40_000}}],
        [{"LetterBoxResize": {"target_size": 40_000}}],
        [{"ClsResizeImg": {"image_shape": [3, 40_000, 40_000]}}],
    ],
)
def test_no_operator_makes_more_pixels_than_are_allowed(steps: list[Any]) -> None:
    assert MAX_RESIZED_PIXELS < 40_000 * 40_000
    with pytest.raises(
        TooLarge, match=r"for the model it would have (40000|80010) x (40000|80010)"
    ):
        build_preprocess(steps)(noise(10, 10))


def test_every_operator_that_changes_the_size_takes_the_thinnest_image() -> None:
    steps: list[Any] = [
        {"ResizeImage": {"size": 8, "fit": "paddlex"}},
        {"ResizeByLong": {"long_size": 8}},
        {"ResizeToHeight": {"height": 8, "max_width": 16}},
        {"CropImageAtRatio": {"size": 8, "pad": 8}},
        {"LetterBox": {"new_shape": 8}},
        {"LetterBox": {"new_shape": 8, "auto": True, "stride": 4}},
        {"ClassifyLetterBox": {"size": 8}},
        {"ClassifyLetterBox": {"size": 8, "auto": True, "stride": 4}},
        {"LetterBoxResize": {"target_size": 8}},
        {"ClsResizeImg": {"image_shape": [3, 8, 16]}},
    ]
    for step in steps:
        for shape in ((1, 3000), (3000, 1), (1, 1)):
            assert build_preprocess([step])(noise(*shape)).size, (step, shape)
    with pytest.raises(InvalidRequest, match="a side of it has no pixels"):
        build_preprocess([{"Resize": {"target_size": 8}}])(noise(1, 3000))


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"PadImage": {"size": 9, "side": "top"}}], "side is right, center, left, not 'top'"),
        ([{"PadImage": {"size": 9, "value": "black"}}], "PadImage: value is a number, or a list"),
        ([{"PadImage": {"size": 0}}], "PadImage: size"),
        ([{"Padv2": {"size": 9, "pad_mode": 3}}], "pad_mode is -1, 0, 1 or 2, not 3"),
        ([{"Padv2": {"size": 9, "pad_mode": -1}}], "offsets is [x, y] with pad_mode -1"),
        ([{"Padv2": {"size_divisor": 0}}], "size_divisor is a whole number from 1 on, not 0"),
        ([{"Pad": {}}], "Pad takes padding (PaddleClas) or size (PaddleDetection)"),
        ([{"Pad": {"padding": 1, "size": 9}}], "Pad takes padding (PaddleClas) or size"),
        ([{"Pad": {"padding": 1, "padding_mode": "edge"}}], "padding_mode is constant"),
        ([{"PadStride": {"stride": 32}}], "PadStride must come after ToCHWImage"),
        ([CHW, {"PadImage": {"size": 9}}], "PadImage must come before ToCHWImage"),
        ([{"ClsResizeImg": {"image_shape": [48, 192]}}], "is [channels, height, width]"),
        ([{"ClsResizeImg": {"image_shape": [3, 8, 8]}}, NORMALIZE], "order is chw after"),
        ([NORMALIZE, {"ClsResizeImg": {"image_shape": [3, 8, 8]}}], "takes 8-bit pixels, and an"),
        ([{"LetterBox": {"auto": "yes"}}], "auto is true or false, not 'yes'"),
        ([{"LetterBox": {"interpolation": 9}}], "or OpenCV's number of it, not 9"),
        ([{"Resize": {"size": 9}}], "write ResizeImage: {resize_short: N, rounding: floor,"),
        ([{"Resize": {}}], "Resize: target_size must be a size"),
        ([{"Resize": {"target_size": 9, "interp": "random"}}], "interp is one of nearest,"),
        ([{"Grayscale": {"num_output_channels": 2}}], "num_output_channels is 1 or 3, not 2"),
        ([{"Grayscale": {"backend": "tf"}}], "backend is pil or cv2, not 'tf'"),
        ([{"ToFloat32": None}, {"Grayscale": None}], "Grayscale: takes 8-bit pixels"),
        ([{"Padv2": {"size": 9}}, {"ResizeImage": {"size": 9, "backend": "pil"}}], "pil resizes"),
        ([{"DecodeImage": {"to_rgb": False}}, {"Grayscale": None}], "take out to_rgb: False"),
        ([{"Grayscale": None}, {"Grayscale": None}], "take out the second one"),
        (
            [{"Grayscale": None}, NORMALIZE],
            "mean or std has 3 numbers and the image 1 channel here",
        ),
        (
            [{"NormalizeImage": {"mean": [0] * 4, "std": 1, "order": ""}}],
            "has 4 numbers and the image 3 channels here; images are decoded without alpha",
        ),
        ([{"NormalizeImage": {"mean": 0, "std": 1, "channel_num": 4}}], "and mean has 1 numbers"),
        ([{"NormalizeImage": {"mean": [0.5] * 4, "std": [1] * 3}}], "has 4 numbers and std 3"),
        ([{"NormalizeImage": {"is_scale": True}}], "needs mean and std with norm_type mean_std"),
        ([{"NormalizeImage": {"is_scale": True, "scale": 1}}], "go with mean and std only"),
        ([{"NormalizeImage": {"norm_type": "max"}}], "norm_type is mean_std or none"),
        ([{"RandFlipImage": {"flip_code": 1}}], "RandFlipImage changes images at random"),
        ([{"CenterCrop": {"size": 9}}], "CenterCrop is written CropImage"),
        ([{"DetResize": {"target_size": 9}}], "DetResize prepares images for a detector"),
    ],
)
def test_what_cannot_be_carried_out_is_named(steps: list[Any], message: str) -> None:
    with pytest.raises(PreprocessError) as caught:
        build_preprocess(steps)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([{"PadImage": {"size": 9, "value": 127.5}}], "8-bit pixels are padded with whole numbers"),
        ([{"PadImage": {"size": 9, "value": [1, 2]}}], "have 2 channels and the image has 3"),
        ([{"Grayscale": None}, {"Padv2": {"size": 9, "fill_value": [0, 0, 0]}}], "image has 1"),
        ([{"ClsResizeImg": {"image_shape": [1, 8, 8]}}], "1 channels and the image 3; put Grays"),
    ],
)
def test_channels_that_do_not_fit_are_found_by_the_first_image(
    steps: list[Any], message: str
) -> None:
    with pytest.raises(PreprocessError) as caught:
        build_preprocess(steps)(noise(4, 5))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1./255.", 1.0 / 255.0),
        ("1/255.0", 1 / 255.0),
        (" ( 1.0 / 255 ) ", 1.0 / 255),
        ("2*0.5/255", 2 * 0.5 / 255),
        ("-1e-3", -1e-3),
        ("1 / 255 / 2", 1 / 255 / 2),
        (".00392157", 0.00392157),
        (1, 1.0),
    ],
)
def test_sums_of_numbers_are_read(text: Any, value: float) -> None:
    assert number(text, "scale") == value


@pytest.mark.parametrize(
    "text",
    ["", "255 px", "__import__('os')", "9**9", "1/0", "1e999", "nan", True, None, [1], "a" * 99,
     "(" * 60, "1 if 1 else 2", "1\x00", "x", "1//255", "{1}", "'1'", "-" * 63],
)  # fmt: skip
def test_nothing_else_is_evaluated(text: Any) -> None:
    with pytest.raises(PreprocessError, match="scale is a finite number or a fraction such as"):
        number(text, "scale")


def test_no_operator_is_both_known_and_refused() -> None:
    assert [name for name in OPERATORS if reason_against(name)] == []


@pytest.mark.parametrize(
    ("steps", "side"),
    [
        ([{"Grayscale": None}, {"ResizeImage": {"size": [28, 30]}}], 30),
        ([{"ClsResizeImg": {"image_shape": [3, 48, 192]}}], 192),
        ([{"LetterBox": {}}], 640),
        ([{"ResizeByLong": {}}], 256),
        ([{"Resize": {"target_size": [20, 10]}}], 20),
        ([{"CropImageAtRatio": {"size": 384, "pad": 32}}], 416),
        ([{"PadImage": {"size": 99}}, {"ResizeImage": {"size": 9}}], None),
        ([{"Padv2": {"size": 99}}, {"ResizeImage": {"size": 9}}], None),
    ],
)
def test_the_size_that_fast_decoding_must_keep(steps: list[Any], side: int | None) -> None:
    assert build_preprocess(steps).short_side == side
