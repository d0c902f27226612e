"""model.yml of PaddleX 1.x and 2.x: real ones are translated, and the numbers are PaddleX' own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from bundle import BundleError
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.form import Source
from converter.describing.overrides import Overrides
from converter.describing.paddlex_yml import is_paddlex_yml, read_paddlex_yml
from converter.errors import ConversionError
from pipeline.stages.preprocess import build_preprocess

MakeExport = Callable[..., Path]

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def read(document: dict[str, Any]) -> Any:
    return read_paddlex_yml(document, Source(Path("model.yml")))


def names(description: Any) -> list[str]:
    return [operator.name for operator in description.transform_ops]


@pytest.mark.parametrize(
    ("file", "operators", "classes", "first", "model"),
    [
        (
            "paddlex1_fish_r50vd.model.yml",
            ["ToFloat32", "ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage"],
            23,
            "Abudefduf_vaigiensis",
            "ResNet50_vd_ssld",
        ),
        (
            "paddlex2_truck_mobilenetv2.model.yml",
            ["ResizeImage", "CropImage", "NormalizeImage", "ToCHWImage"],
            3,
            "0",
            "MobileNetV2",
        ),
    ],
)
def test_real_files(
    shared: Path, file: str, operators: list[str], classes: int, first: str, model: str
) -> None:
    path = shared / "models/config_samples" / file
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert is_paddlex_yml(document)
    description = read(document)
    assert names(description) == operators
    assert description.model_name == model
    assert len(description.labels) == classes
    assert description.labels[0] == first
    prepared = build_preprocess(description.transform_ops)(np.full((300, 500, 3), 7, np.uint8))
    assert prepared.shape == (3, 224, 224)


def paddlex_array(image: np.ndarray, *, floats_first: bool, max_size: int = -1) -> np.ndarray:
    """What PaddleX documents: short side to 256, centre 224, range, mean, deviation."""
    pixels = image.astype(np.float32) if floats_first else image
    height, width = pixels.shape[:2]
    scale = 256 / min(height, width)
    if 0 < max_size < np.round(scale * max(height, width)):
        scale = max_size / max(height, width)
    size = (round(width * scale), round(height * scale))
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR)
    top, left = (pixels.shape[0] - 224) // 2, (pixels.shape[1] - 224) // 2
    pixels = pixels[top : top + 224, left : left + 224].astype(np.float32) / 255
    result: np.ndarray = (pixels - np.float32(MEAN)) / np.float32(STD)
    return result.transpose(2, 0, 1)


@pytest.mark.parametrize("version", ["1.3.4", "2.1.0"])
@pytest.mark.parametrize("max_size", [-1, 260])
def test_the_numbers(version: str, max_size: int) -> None:
    """PaddleX 1.x resizes floats and 2.x pixels; they differ by up to a grey level."""
    image = np.random.default_rng(3).integers(0, 256, (333, 351, 3), np.uint8)
    description = read(
        {
            "version": version,
            "Transforms": [
                {"ResizeByShort": {"short_size": 256, "max_size": max_size}},
                {"CenterCrop": {"crop_size": 224}},
                {"Normalize": {"mean": MEAN, "std": STD}},
            ],
        }
    )
    ours = build_preprocess(description.transform_ops)(image)
    floats_first = version.startswith("1")
    expected = paddlex_array(image, floats_first=floats_first, max_size=max_size)
    assert np.allclose(ours, expected, atol=1e-5)
    other = paddlex_array(image, floats_first=not floats_first, max_size=max_size)
    assert 1e-3 < np.abs(ours - other).max() <= 1 / 255 / min(STD)


def test_another_range_and_order() -> None:
    description = read(
        {
            "version": "2.0.0",
            "TransformsMode": "BGR",
            "Transforms": [
                {"Resize": {"target_size": [6, 4], "interp": "CUBIC"}},
                {
                    "Normalize": {
                        "mean": [0.5, 0.5, 0.5],
                        "std": [0.2, 0.2, 0.2],
                        "min_val": [10, 10, 10],
                        "max_val": [110.0, 110.0, 110.0],
                        "is_scale": True,
                    }
                },
            ],
        }
    )
    image = np.zeros((6, 4, 3), np.uint8)
    image[:, :, 0], image[:, :, 2] = 60, 110
    array = build_preprocess(description.transform_ops)(image)
    assert array.shape == (3, 6, 4)
    # (pixel - 10) / 100 is 1, -0.1 and 0.5, blue first
    assert array[:, 0, 0] == pytest.approx([2.5, -3, 0], abs=1e-5)


def test_beside_the_model_it_is_all_that_is_needed(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("fluid", description=None)
    document = {
        "version": "1.3.4",
        "Model": "MobileNetV3_large_ssld",
        "Transforms": [{"ResizeByShort": {"short_size": 6}}, {"CenterCrop": {"crop_size": 4}},
                       {"Normalize": {}}],
        "_Attributes": {"model_type": "classifier", "labels": ["FoodWaste", 2, "其他垃圾"]},
    }  # fmt: skip
    (export / "model.yml").write_text(yaml.safe_dump(document, allow_unicode=True), "utf-8")
    bundle = convert(ConvertOptions(export, tmp_path / "out"))
    assert bundle.labels == ("FoodWaste", "2", "其他垃圾")
    assert bundle.description.model_name == "MobileNetV3_large_ssld"
    assert bundle.description.topk == 3
    chosen = convert(ConvertOptions(export, tmp_path / "two", Overrides(topk=1)))
    assert chosen.description.topk == 1


@pytest.mark.parametrize("label", ["no", "0777", "1.0", "~"])
def test_a_label_without_quotes_is_refused_with_its_line(
    make_export: MakeExport, tmp_path: Path, label: str
) -> None:
    export = make_export("fluid", description=None)
    text = f"Transforms:\n- Normalize:\n_Attributes:\n  labels:\n  - a\n  - {label}\n  - c\n"
    (export / "model.yml").write_text(text)
    with pytest.raises(BundleError, match=f"model.yml: .* line 6: .*is {label}, .* in quotes"):
        convert(ConvertOptions(export, tmp_path / "out"))
    (tmp_path / "labels.txt").write_text("a\nb\nc\n")
    overrides = Overrides(tmp_path / "labels.txt")  # then those in it are not needed
    with pytest.raises(ConversionError, match="preprocessing"):
        convert(ConvertOptions(export, tmp_path / "out", overrides))


def test_what_keeps_the_ratio_and_pads_is_translated() -> None:
    description = read(
        {
            "version": "2.1.0",
            "Transforms": [
                {"Resize": {"target_size": [80, 120], "keep_ratio": True, "interp": "CUBIC"}},
                {"ResizeByLong": {"long_size": 64}},
                {"Padding": {"target_size": [90, 130], "pad_mode": 1}},
            ],
        }
    )
    assert [(each.name, each.options) for each in description.transform_ops[:-1]] == [
        ("ResizeImage", {"size": [120, 80], "fit": "paddlex", "interpolation": "bicubic"}),
        ("ResizeByLong", {"long_size": 64}),
        ("Padv2", {"fill_value": [127.5] * 3, "size": [130, 90], "pad_mode": 1}),
    ]


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"Transforms": [{"Clip": {"min_val": [0]}}]}, "Clip of Transforms is not known"),
        ({"Transforms": [{"Padding": {"pad_mode": -1}}]}, "Padding cannot be read: 'offsets'"),
        (
            {"Transforms": [{"RandomRotate": {"prob": 1}}]},
            "RandomRotate .* at random, .* remove it",
        ),
        ({"Transforms": [{"Resize": {}}]}, "Resize cannot be read: 'target_size'"),
        ({"Transforms": [{"Resize": {"target_size": 9, "interp": "RANDOM"}}]}, "interp RANDOM"),
        ({"Transforms": [{"Normalize": {"min_val": [0, 1, 0]}}]}, "differ between channels"),
        ({"Transforms": [{"Normalize": {"max_val": [0, 0, 0]}}]}, "not above min_val"),
        ({"Transforms": [{"Normalize": 3}]}, "takes options by name"),
        ({"Transforms": ["Normalize"]}, "one operator"),
        ({"Transforms": "none"}, "must be a list"),
        ({"_Attributes": {"model_type": "detector"}}, "is of a detector"),
        ({"_Attributes": {"labels": {}}}, "must be a list"),
    ],
)
def test_what_is_not_known_is_refused(change: dict[str, Any], cause: str) -> None:
    with pytest.raises(ConversionError, match=cause) as error:
        read({"Transforms": [{"Normalize": {}}], **change})
    assert str(error.value).startswith("model.yml: ")
