"""preprocessor_config.json of transformers beside its image processors.

Bit for bit with those of Pillow. Those of torchvision resize otherwise: by a grey level where the
filter is bilinear, by up to four where it is bicubic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.describing.form import Source
from converter.describing.huggingface_json import is_huggingface_json, read_huggingface_json
from converter.describing.huggingface_processors import PROCESSORS
from pipeline.stages.preprocess import build_preprocess
from tests.conformance.framework_images import image
from tests.conformance.frameworks import (
    Case,
    Frameworks,
    check_recorded,
    compare_or_record,
    recorded,
)

DEFAULTS = {name: {"class": f"{name}ImageProcessor"} for name in PROCESSORS if name != "ConvNeXT"}
OTHERS: dict[str, dict[str, Any]] = {
    "ViT, 8-bit": {
        "class": "ViTImageProcessor",
        "do_rescale": False,
        "image_mean": [127.5, 127.5, 127.5],
        "image_std": [127.5, 127.5, 127.5],
    },
    "ViT, not normalised": {"class": "ViTImageProcessor", "do_normalize": False},
    "ViT, from -1 to 1": {
        "class": "ViTImageProcessor",
        "rescale_factor": 1 / 127.5,
        "image_mean": [1.0, 1.0, 1.0],
        "image_std": [1.0, 1.0, 1.0],
    },
    "ConvNext-224": {"class": "ConvNextImageProcessor", "size": {"shortest_edge": 224}},
    "EfficientNet, cropped": {
        "class": "EfficientNetImageProcessor",
        "do_center_crop": True,
        "resample": 0,
        "rescale_offset": True,
        "include_top": False,
        "rescale_factor": 1 / 127.5,
    },
    "CLIP, larger crop": {
        "class": "CLIPImageProcessor",
        "size": {"shortest_edge": 100},
        "crop_size": {"height": 121, "width": 96},
    },
    "PoolFormer, not square": {
        "class": "PoolFormerImageProcessor",
        "size": {"height": 200, "width": 224},
    },
    "MobileViT, RGB": {"class": "MobileViTImageProcessor", "do_flip_channel_order": False},
}
CASES = [Case(name, "huggingface", given) for name, given in {**DEFAULTS, **OTHERS}.items()]
# torchvision's resizing of bytes keeps fewer bits of each weight than Pillow's
_BILINEAR, _BICUBIC = 1.01, 4.01
TORCHVISION = [
    Case(f"{name} on torchvision", "huggingface", {**given, "backend": ""})
    for name, given in DEFAULTS.items()
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_huggingface_as_recorded(case: Case) -> None:
    document = recorded("huggingface")["documents"][case.name]
    assert is_huggingface_json(document)
    source = Source(Path("nowhere/preprocessor_config.json"))
    check_recorded(case, read_huggingface_json(document, source).transform_ops)


@pytest.mark.parametrize("name", DEFAULTS)
def test_defaults_of_huggingface_are_those_of_a_file_that_names_its_class_alone(name: str) -> None:
    document = recorded("huggingface")["documents"][name]
    source = Source(Path("nowhere/preprocessor_config.json"))
    bare = {"image_processor_type": document["image_processor_type"]}
    whole = read_huggingface_json(document, source)
    assert read_huggingface_json(bare, source).transform_ops == whole.transform_ops


@pytest.mark.slow
def test_huggingface_itself_gives_what_is_recorded(frameworks: Frameworks) -> None:
    compare_or_record(frameworks, CASES)


@pytest.mark.slow
def test_huggingface_on_torchvision_is_within_grey_levels(frameworks: Frameworks) -> None:
    answers, arrays = frameworks.run(TORCHVISION)
    source = Source(Path("nowhere/preprocessor_config.json"))
    for case, theirs in zip(TORCHVISION, arrays, strict=True):
        described = read_huggingface_json(answers["documents"][case.name], source)
        ours = build_preprocess(described.transform_ops)
        level = grey_level(described.transform_ops)
        bicubic = "bicubic" in str(described.transform_ops)
        for name, array in theirs.items():
            if case.name.startswith("MobileViT") and name == "crop and one":
                continue  # its border is one pixel to the other side
            difference = np.abs(ours(image(name)) - array).max() / level
            assert difference <= (_BICUBIC if bicubic else _BILINEAR), (case.name, name, difference)


def grey_level(operators: Any) -> float:
    """How far two neighbouring grey levels are from each other after normalisation, at most."""
    black, other = (
        build_preprocess([op for op in operators if op.name not in ("ResizeImage", "CropImage")])(
            np.full((2, 2, 3), level, np.uint8)
        )
        for level in (0, 1)
    )
    return float(np.abs(other - black).max())
