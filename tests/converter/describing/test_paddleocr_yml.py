"""PaddleOCR's text-direction classifier, as PaddleOCR describes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from converter.bundling.convert import ConvertOptions, convert
from converter.describing.beside import description_beside
from converter.describing.form import Source
from converter.describing.forms import read_description
from converter.errors import ConversionError
from pipeline.stages.preprocess import build_preprocess

MakeExport = Callable[..., Path]

# Of configs/cls/cls_mv3.yml, which its exporter copies into inference.yml.
TRANSFORMS: list[dict[str, Any]] = [
    {"DecodeImage": {"img_mode": "BGR", "channel_first": False}},
    {"ClsLabelEncode": None},
    {"ClsResizeImg": {"image_shape": [3, 4, 4]}},
    {"KeepKeys": {"keep_keys": ["image", "label"]}},
]


def exported(transforms: Any = TRANSFORMS, **postprocess: Any) -> dict[str, Any]:
    return {
        "PreProcess": {"transform_ops": transforms},
        "PostProcess": {"name": "ClsPostProcess", **postprocess},
    }


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Any]:
    """Write a document as YAML and read it."""

    def run(document: Any, **source: Any) -> Any:
        (tmp_path / "inference.yml").write_text(yaml.safe_dump(document))
        return read_description(Source(tmp_path / "inference.yml", **source))

    return run


def test_blue_comes_first_and_labels_of_training_are_left_out(read: Callable[..., Any]) -> None:
    described = read(exported())
    assert [operator.name for operator in described.transform_ops] == [
        "DecodeImage",
        "ClsResizeImg",
    ]
    image = np.zeros((8, 4, 3), np.uint8)
    image[:, :, 2] = 255
    prepared = build_preprocess(described.transform_ops)(image)
    # half as wide as high: the right half is padded with zeros
    assert prepared[:, 0, 0].tolist() == [1, -1, -1]
    assert not prepared[:, :, 2:].any()
    assert (described.topk, described.multi_label, described.labels) == (1, False, None)


def test_the_training_yaml_has_the_labels(read: Callable[..., Any]) -> None:
    training = {
        "Global": {"label_list": ["0", "180"]},
        "Architecture": {"model_type": "cls"},
        "PostProcess": {"name": "ClsPostProcess"},
        "Eval": {"dataset": {"name": "SimpleDataSet", "transforms": TRANSFORMS}},
    }
    described = read(training)
    assert described.labels == ("0", "180")
    assert described.transform_ops == read(exported()).transform_ops
    assert read(training, labels_given=True).labels == ()
    assert read(exported(label_list=["up", "down"])).labels == ("up", "down")


def test_beside_the_model(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export("pdmodel", description=None, classes=2)
    (export / "inference.yml").write_text(yaml.safe_dump(exported()))
    (export / "label_list.txt").write_text("0\n180\n")
    bundle = convert(ConvertOptions(export, tmp_path / "out"))
    assert bundle.labels == ("0", "180")
    assert bundle.description.topk == 1


@pytest.mark.parametrize(
    "decoding",
    [{"img_mode": "GRAY"}, {"channel_first": True}, {"ignore_orientation": True}],
)
def test_what_is_decoded_otherwise_is_refused(
    read: Callable[..., Any], decoding: dict[str, Any]
) -> None:
    with pytest.raises(ConversionError, match=r"inference\.yml: DecodeImage .* is not known"):
        read(exported([{"DecodeImage": decoding}, *TRANSFORMS[1:]]))


def test_a_recogniser_is_no_choice_beside_a_description(tmp_path: Path) -> None:
    """The configuration of another model of PaddleOCR, in the same folder."""
    recogniser = {**exported(), "PostProcess": {"name": "CTCLabelDecode"}}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(recogniser))
    (tmp_path / "direction.yaml").write_text(yaml.safe_dump(exported()))
    assert description_beside(tmp_path) == tmp_path / "direction.yaml"
