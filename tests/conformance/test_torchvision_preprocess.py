"""The presets of torchvision beside torchvision's own transforms, bit for bit."""

from __future__ import annotations

import pytest

from converter.describing.presets import preset
from tests.conformance.frameworks import Case, Frameworks, check_recorded, compare_or_record

HALF = [0.5, 0.5, 0.5]
CASES = [
    Case(name, "torchvision", parameters)
    for name, parameters in {
        "torchvision-224": {"crop_size": 224},
        "torchvision:resize=232,crop=224": {"crop_size": 224, "resize_size": 232},
        "torchvision:resize=342,crop=299": {"crop_size": 299, "resize_size": 342},
        # EfficientNet's
        "torchvision:resize=255,crop=240,interpolation=bicubic": {
            "crop_size": 240,
            "resize_size": 255,
            "interpolation": "bicubic",
        },
        # EfficientNetV2-L's
        "torchvision:resize=480,crop=480,interpolation=bicubic,mean=0.5,0.5,0.5,std=0.5": {
            "crop_size": 480,
            "resize_size": 480,
            "interpolation": "bicubic",
            "mean": HALF,
            "std": HALF,
        },
        "torchvision:resize=28,crop=28,grayscale=true,mean=0.1307,std=0.3081": {
            "crop_size": 28,
            "resize_size": 28,
            "mean": [0.1307],
            "std": [0.3081],
            "grayscale": True,
        },
        # a border around every image
        "torchvision:resize=200,crop=225": {"crop_size": 225, "resize_size": 200},
    }.items()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_torchvision_as_recorded(case: Case) -> None:
    operators = preset(case.name)
    assert operators is not None
    check_recorded(case, operators)


@pytest.mark.slow
def test_torchvision_itself_gives_what_is_recorded(frameworks: Frameworks) -> None:
    compare_or_record(frameworks, CASES)
