"""Presets of Keras beside Keras: load_img bit for bit, data sets of TensorFlow within a bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from converter.describing.presets import preset
from pipeline.stages.preprocess import build_preprocess
from tests.conformance.framework_images import image
from tests.conformance.frameworks import Case, Frameworks, check_recorded, compare_or_record

SQUARE: dict[str, Any] = {"target_size": [224, 224]}
# TensorFlow places its samples in float32: between two pixels of 0 and 255, a little to one side.
GREY_LEVELS = 0.05
CASES = [
    *(
        Case(name, "keras", parameters)
        for name, parameters in {
            "keras-caffe-224": {"mode": "caffe", **SQUARE},
            "keras-tf-224": {"mode": "tf", **SQUARE},
            "keras-torch-224": {"mode": "torch", **SQUARE},
            "keras-pixels-224": {"mode": "pixels", **SQUARE},
            "keras-tf:size=299,interpolation=bilinear": {
                "mode": "tf",
                "target_size": [299, 299],
                "interpolation": "bilinear",
            },
            "keras-tf:size=28,color_mode=grayscale": {
                "mode": "tf",
                "target_size": [28, 28],
                "color_mode": "grayscale",
            },
            "keras-caffe:size=96,160,interpolation=lanczos,keep_aspect_ratio=true": {
                "mode": "caffe",
                "target_size": [96, 160],
                "interpolation": "lanczos",
                "keep_aspect_ratio": True,
            },
        }.items()
    ),
    *(
        Case(name, "keras", {**parameters, "loader": "dataset"}, bound)
        for name, parameters, bound in (
            (
                "keras-pixels:size=224,loader=dataset",
                {"mode": "pixels", "image_size": [224, 224]},
                GREY_LEVELS,
            ),
            (
                "keras-tf:size=96,160,loader=dataset,keep_aspect_ratio=true",
                {"mode": "tf", "image_size": [96, 160], "crop_to_aspect_ratio": True},
                GREY_LEVELS / 127.5,
            ),
        )
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_keras_as_recorded(case: Case) -> None:
    operators = preset(case.name)
    assert operators is not None
    check_recorded(case, operators)


@pytest.mark.slow
def test_keras_itself_gives_what_is_recorded(frameworks: Frameworks) -> None:
    for case, theirs in zip(CASES, compare_or_record(frameworks, CASES), strict=True):
        prepare = build_preprocess(preset(case.name) or ())
        for name, array in theirs.items():
            # whole arrays, where the record has samples
            assert np.abs(prepare(image(name)) - array).max() <= case.bound, (case.name, name)
