"""inference.yml: official descriptions come back as they were, wrong ones are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bundle import BundleError
from bundle.inference_yml import (
    InferenceDescription,
    TransformOp,
    read_inference_yml,
    write_inference_yml,
)

OPS = "PreProcess: {transform_ops: [ToCHWImage: null]}\n"


@pytest.mark.parametrize(
    ("name", "topk", "labels"),
    [
        ("PP-LCNet_x1_0_doc_ori", 1, ("0", "90", "180", "270")),
        ("PP-LCNet_x0_25_textline_ori", 1, ("0_degree", "180_degree")),
    ],
)
def test_official_descriptions(
    shared: Path, tmp_path: Path, name: str, topk: int, labels: tuple[str, ...]
) -> None:
    official = shared / "models" / name / "inference.yml"
    description = read_inference_yml(official)
    assert (description.model_name, description.topk, description.labels) == (name, topk, labels)
    assert description.transform_ops[0].name == "ResizeImage"
    assert description.transform_ops[-1] == TransformOp("ToCHWImage", {})
    write_inference_yml(description, tmp_path / "again.yml")
    assert (tmp_path / "again.yml").read_bytes() == official.read_bytes()


def test_what_is_unknown_is_kept(tmp_path: Path) -> None:
    file = tmp_path / "inference.yml"
    file.write_text(
        "Global: {model_name: 杂, made: 2024}\n"
        "Hpi:\n  a: &shared\n    x: [1, 2]\n  b: *shared\n"
        "PreProcess: {transform_ops: [ToCHWImage: null], other: 1}\n"
        "PostProcess: {Topk: {topk: 1, label_list: [a], more: [1]}, SavePreLabel: {dir: x}}\n"
        "Future: {deep: [1, {two: null}]}\n",
        encoding="utf-8",
    )
    before = yaml.safe_load(file.read_text(encoding="utf-8"))
    description = read_inference_yml(file)
    write_inference_yml(replace(description, topk=2, labels=("b", "c")), file)
    after = yaml.safe_load(file.read_text(encoding="utf-8"))
    before["PostProcess"]["Topk"].update(topk=2, label_list=["b", "c"])
    assert after == before
    assert "*id001" in file.read_text(encoding="utf-8")


def test_labels_keep_commas_spaces_and_chinese(tmp_path: Path) -> None:
    labels = (
        "tench, Tinca tinca",
        "可回收物/纸板",
        "0",
        "no",
        "null",
        "1.5",
        "a: b",
        "#hash",
        'it\'s "quoted"',
        "- dash",
        "2024-01-01",
        "a  b",
        "x" * 300 + " " + "y" * 300,
        "é\u2028ü",
    )
    ops = (TransformOp("ResizeImage", {"size": [4, 4]}), TransformOp("ToCHWImage", {}))
    written = InferenceDescription("模型", ops, topk=3, labels=labels)
    write_inference_yml(written, tmp_path / "a.yml")
    assert read_inference_yml(tmp_path / "a.yml") == written
    assert "可回收物/纸板" in (tmp_path / "a.yml").read_text(encoding="utf-8")


def test_what_is_left_out_has_defaults(tmp_path: Path) -> None:
    (tmp_path / "a.yml").write_text(OPS, encoding="utf-8-sig")
    description = read_inference_yml(tmp_path / "a.yml")
    assert (description.model_name, description.labels) == ("", None)
    assert description.topk >= 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a list",
        "PreProcess: [",
        "\tPreProcess: {}",
        "PreProcess: {}",
        "PreProcess: text",
        "PreProcess: {transform_ops: {ToCHWImage: null}}",
        "PreProcess: {transform_ops: [{A: null, B: null}]}",
        "PreProcess: {transform_ops: [7]}",
        "PreProcess: {transform_ops: [{CropImage: 224}]}",
        OPS + "PostProcess: {Topk: {topk: 0}}",
        OPS + "PostProcess: {Topk: {topk: many}}",
        OPS + "PostProcess: {Topk: {label_list: a}}",
        OPS + "PostProcess: {Topk: [1]}",
        "!!python/object/apply:os.getcwd []",
    ],
)
def test_what_is_wrong_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    file = tmp_path / "inference.yml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=r"inference\.yml") as error:
        read_inference_yml(file)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", "PreProcess: 标签".encode("gbk")])
def test_other_encodings_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.yml").write_bytes(content)
    with pytest.raises(BundleError, match="UTF-8"):
        read_inference_yml(tmp_path / "a.yml")


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a\.yml"):
        read_inference_yml(tmp_path / "a.yml")
