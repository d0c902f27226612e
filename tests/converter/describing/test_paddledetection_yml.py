"""infer_cfg.yml of PaddleDetection: classifiers are read with its numbers, detectors refused."""

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
from converter.describing.forms import read_description
from converter.errors import ConversionError
from pipeline.stages.preprocess import build_preprocess

MakeExport = Callable[..., Path]

MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


def infer_cfg(*, arch: str = "PPHGNet", size: tuple[int, int] = (4, 4), **more: Any) -> Any:
    """The file that PP-Human's classifiers of actions come with."""
    return {
        "mode": "paddle",
        "draw_threshold": 0.5,
        "metric": "COCO",
        "use_dynamic_shape": False,
        "arch": arch,
        "min_subgraph_size": 3,
        "Preprocess": [
            {"interp": 2, "keep_ratio": False, "target_size": list(size), "type": "Resize"},
            {"mean": MEAN, "std": STD, "type": "NormalizeImage"},
            {"type": "Permute"},
        ],
        "label_list": ["calling", "normal", "other"],
        **more,
    }


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    """Write a document as infer_cfg.yml and read it."""

    def run(document: Any, **source: Any) -> Any:
        (tmp_path / "infer_cfg.yml").write_text(yaml.safe_dump(document), encoding="utf-8")
        return read_description(Source(tmp_path / "infer_cfg.yml", **source))

    return run


def paddledetection_array(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Its Resize, NormalizeImage and Permute, of an RGB image."""
    scale_y, scale_x = height / float(image.shape[0]), width / float(image.shape[1])
    pixels = cv2.resize(image, None, None, fx=scale_x, fy=scale_y, interpolation=cv2.INTER_CUBIC)
    pixels = pixels.astype(np.float32)
    pixels *= 1.0 / 255.0
    pixels -= np.array(MEAN)[np.newaxis, np.newaxis, :]
    pixels /= np.array(STD)[np.newaxis, np.newaxis, :]
    return pixels.transpose((2, 0, 1))


def test_the_numbers_are_those_of_paddledetection(read: Callable[..., Any]) -> None:
    image = np.random.default_rng(5).integers(0, 256, (61, 97, 3), np.uint8)
    described = read(infer_cfg(size=(32, 24)))
    prepared = build_preprocess(described.transform_ops)(image)
    assert np.array_equal(prepared, paddledetection_array(image, 32, 24))


def test_without_scale_and_without_mean(read: Callable[..., Any]) -> None:
    steps = [
        {"type": "NormalizeImage", "is_scale": False, "mean": [1, 2, 3], "std": [2, 2, 2]},
        {"type": "Permute"},
    ]
    image = np.full((2, 2, 3), 9, np.uint8)
    prepared = build_preprocess(read(infer_cfg(Preprocess=steps)).transform_ops)(image)
    assert prepared[:, 0, 0].tolist() == [4, 3.5, 3]
    steps[0] = {"type": "NormalizeImage", "norm_type": "none"}
    prepared = build_preprocess(read(infer_cfg(Preprocess=steps)).transform_ops)(image)
    assert prepared[:, 0, 0] == pytest.approx([9 / 255] * 3)


@pytest.mark.parametrize(("last", "several"), [("softmax", False), ("sigmoid", True)])
def test_the_end_of_the_graph_says_what_a_result_holds(
    make_export: MakeExport, tmp_path: Path, last: str, several: bool
) -> None:
    export = make_export("pdmodel", description=None, last=last)
    (export / "infer_cfg.yml").write_text(yaml.safe_dump(infer_cfg()))
    bundle = convert(ConvertOptions(export, tmp_path / "out"))
    assert bundle.labels == ("calling", "normal", "other")
    assert bundle.description.multi_label is several
    assert bundle.description.model_name == "PPHGNet"


def test_inference_yml_of_that_form(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("pdmodel", description=None)
    (export / "inference.yml").write_text(yaml.safe_dump(infer_cfg()))
    assert convert(ConvertOptions(export, tmp_path / "out")).labels[0] == "calling"


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        ({"arch": "YOLO"}, "its arch is YOLO: it is of a detector"),
        ({"arch": "PPYOLOE"}, "its arch is PPYOLOE"),
        ({"arch": "Mystery", "NMS": {"name": "MultiClassNMS"}}, "holds NMS: it is of a detector"),
        ({"arch": "PPLCNet", "tracker": {"use_byte": True}}, "holds tracker"),
        ({"Preprocess": [{"Resize": {}}]}, "an operator with its type, not"),
        ({"Preprocess": ["Resize"]}, "an operator with its type, not 'Resize'"),
        ({"label_list": {"a": 0}}, "label_list must be a list"),
        ({"label_list": ["a", True]}, "label_list"),
    ],
)
def test_what_is_of_no_classifier_or_no_list_is_refused(
    read: Callable[..., Any], change: dict[str, Any], cause: str
) -> None:
    with pytest.raises((ConversionError, BundleError), match=cause) as error:
        read(infer_cfg(**change))
    assert "infer_cfg.yml" in str(error.value)


def test_what_is_given_elsewhere_may_be_anything(read: Callable[..., Any]) -> None:
    odd = infer_cfg(Preprocess=["?"], label_list=[None])
    described = read(odd, steps_given=True, labels_given=True)
    assert (described.transform_ops, described.labels) == ((), ())
