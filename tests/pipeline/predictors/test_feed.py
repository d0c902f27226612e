"""What preprocessing gives against what a feed takes: element type, range, channels, layout."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bundle.model_config import TensorSpec
from pipeline.predictors.feed import as_feed, doubt, fits, misfit, survey
from pipeline.predictors.servable import FEED_DTYPES
from pipeline.stages.preprocess import build_preprocess

Steps = list[dict[str, Any]]

RESIZE = {"ResizeImage": {"size": [8, 6]}}
PLANES: dict[str, Any] = {"ToCHWImage": None}
IMAGENET = {"NormalizeImage": {"order": ""}}
LESS_128 = {"NormalizeImage": {"scale": 1, "mean": [128] * 3, "std": [1] * 3, "order": ""}}
TO_ONE = {"NormalizeImage": {"mean": [0.0] * 3, "std": [1.0] * 3, "order": ""}}
FLOATS: Steps = [
    {"ToFloat32": None},
    {"ResizeImage": {"size": [8, 6], "interpolation": "bicubic"}},
]


def feed(dtype: str, *shape: int) -> TensorSpec:
    return TensorSpec("x", "x", dtype, shape or (6, 8, 3))


def wrong(steps: Steps, spec: TensorSpec) -> str | None:
    return misfit(survey(build_preprocess(steps)), spec)


@pytest.mark.parametrize("dtype", [dtype for dtype in FEED_DTYPES if "int" in dtype])
@pytest.mark.parametrize("steps", [IMAGENET, TO_ONE])
def test_fractions_never_reach_a_feed_of_whole_numbers(dtype: str, steps: dict[str, Any]) -> None:
    said = wrong([RESIZE, steps], feed(dtype)) or ""
    assert said.startswith("preprocessing gives fractions from ")
    assert f"({dtype})" in said
    assert ("less 128" if dtype == "int8" else "- ResizeImage: {size: [8, 6]}") in said


def test_the_error_says_which_numbers_and_what_to_give_instead() -> None:
    said = wrong([RESIZE, IMAGENET, PLANES], feed("uint8", 3, 6, 8))
    assert said == (
        "preprocessing gives fractions from -2.118 to 2.64, the model's input 'x' takes whole"
        " numbers from 0 to 255 (uint8); the model takes pixels from 0 to 255 and does the rest"
        " itself: take NormalizeImage out of transform_ops, for example give --preprocess a file"
        " with the lines '- ResizeImage: {size: [8, 6]}' and '- ToCHWImage:'"
    )


@pytest.mark.parametrize(
    ("steps", "dtypes"),
    [
        ([RESIZE], {"uint8", "int32", "int64"}),
        (FLOATS, {"uint8", "int32", "int64"}),
        ([RESIZE, LESS_128], {"int8", "int32", "int64"}),
    ],
)
def test_pixels_fit_the_types_that_hold_them(steps: Steps, dtypes: set[str]) -> None:
    whole = [dtype for dtype in FEED_DTYPES if "int" in dtype]
    assert {dtype for dtype in whole if wrong(steps, feed(dtype)) is None} == dtypes


@pytest.mark.parametrize("steps", [[RESIZE], [RESIZE, IMAGENET], [RESIZE, LESS_128], FLOATS])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_floats_take_pixels_as_well_as_deviations(dtype: str, steps: Steps) -> None:
    """EfficientNet of Keras takes pixels from 0 to 255 as floats: no false alarm."""
    prepared = survey(build_preprocess(steps))
    assert misfit(prepared, feed(dtype)) is None
    assert doubt(prepared, feed(dtype)) is None


@pytest.mark.parametrize(
    ("scale", "mean", "std", "cause"),
    [
        (1, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "is scale (1/255) missing"),
        ("1/255", [123.7, 116.3, 103.5], [58.4, 57.1, 57.4], "which is next to nothing: is scale"),
        ("1/65025", [0.485, 0.456, 0.406], [0.229, 0.224, 0.225], "or applied twice?"),
    ],
)
def test_a_range_that_no_model_is_trained_on_is_doubted(
    scale: object, mean: list[float], std: list[float], cause: str
) -> None:
    steps = {"NormalizeImage": {"scale": scale, "mean": mean, "std": std, "order": ""}}
    prepared = survey(build_preprocess([RESIZE, steps]))
    assert misfit(prepared, feed("float32")) is None
    assert cause in (doubt(prepared, feed("float32")) or "")


@pytest.mark.parametrize(
    ("shape", "cause"),
    [
        ((3, 6, 8), "gives [6, 8, 3], the model's input 'x' is [3, 6, 8]; end transform_ops with"),
        ((6, 9, 3), "correct the sizes in transform_ops"),
        ((-1, -1, 1), "begin transform_ops with Grayscale"),
        ((4, -1, -1), "channel_num: 4 of NormalizeImage adds PaddleClas' plane of zeros"),
        ((9, 6, 8), "images have one, three or four channels, so no preprocessing helps"),
        ((144,), "[C, H, W] or [H, W, C]"),
    ],
)
def test_channels_and_layout(shape: tuple[int, ...], cause: str) -> None:
    assert cause in (wrong([RESIZE], feed("float32", *shape)) or "")


def test_channels_and_layout_of_grey_images() -> None:
    grey: dict[str, Any] = {"Grayscale": {}}
    assert wrong([grey, RESIZE], feed("float32", 6, 8, 1)) is None
    assert wrong([grey, RESIZE, PLANES], feed("float32", 1, 6, 8)) is None
    for steps, shape, mend in (
        ([grey, RESIZE], (1, 6, 8), "end transform_ops with ToCHWImage"),
        ([grey, RESIZE, PLANES], (6, 8, 1), "take ToCHWImage out of transform_ops"),
        ([grey, RESIZE], (6, 8, 3), "the model takes three channels: take Grayscale"),
    ):
        assert mend in (wrong(steps, feed("float32", *shape)) or "")


def test_open_dimensions_take_any_size() -> None:
    for shape in ((-1, -1, 3), (6, -1, -1), (-1, -1, -1)):
        assert wrong([RESIZE], feed("float32", *shape)) is None
    assert wrong([RESIZE, PLANES], feed("float32", 3, -1, -1)) is None


def test_shapes_that_lack_their_open_dimensions() -> None:
    """As 0.9's converter writes them: [-1, 3, -1, -1] becomes [3]."""
    assert fits((3, 6, 8), (3,), open_left_out=True)
    assert fits((6, 8, 3), (3,), open_left_out=True)
    assert not fits((3, 6, 8), (1,), open_left_out=True)
    assert not fits((3, 6, 8), (8, 6), open_left_out=True)
    assert not fits((3, 6, 8), (3,), open_left_out=False)


def test_whole_numbers_are_rounded_to_and_stay_within_the_type() -> None:
    batch = np.float32([[-3.2, -0.4, 0.5, 1.5, 126.7, 254.6, 255.4, 300.0]])
    assert as_feed(batch, feed("uint8", 8)).tolist() == [[0, 0, 0, 2, 127, 255, 255, 255]]
    assert as_feed(batch, feed("int8", 8)).tolist() == [[-3, 0, 0, 2, 127, 127, 127, 127]]
    assert as_feed(batch, feed("int64", 8)).tolist() == [[-3, 0, 0, 2, 127, 255, 255, 300]]
    assert as_feed(batch, feed("float16", 8)).dtype == np.float16
    assert batch.dtype == np.float32


@pytest.mark.parametrize("size", [(24, 32), (61, 83), (480, 640)])
def test_a_feed_of_bytes_gets_the_bytes_of_the_resize(size: tuple[int, int]) -> None:
    """What OpenCV's own resize of bytes gives, whether or not the steps compute in floats."""
    import cv2

    image = np.random.default_rng(3).integers(0, 256, (*size, 3), np.uint8)
    prepared = build_preprocess([RESIZE])(image)
    fed = as_feed(prepared[np.newaxis], feed("uint8"))[0]
    assert np.array_equal(fed, cv2.resize(image, (8, 6), interpolation=cv2.INTER_LINEAR))


@pytest.mark.parametrize("shape", [(2, 1, 6, 8), (2, 6, 8, 1)])
def test_grey_images_without_a_dimension_of_channels(shape: tuple[int, ...]) -> None:
    spec = feed("float32", 6, 8)
    batch = np.arange(96, dtype=np.float32).reshape(shape)
    assert fits(shape[1:], spec.shape, open_left_out=False)
    assert np.array_equal(as_feed(batch, spec), batch.reshape(2, 6, 8))
