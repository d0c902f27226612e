"""The description beside a model is found by what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from bundle import BundleError
from converter.bundling.convert import ConvertOptions, convert
from converter.describing import document as document_module
from converter.describing.beside import description_beside, unusable_beside
from converter.describing.document import load_document
from converter.describing.overrides import Overrides
from converter.errors import ConversionError

MakeExport = Callable[..., Path]

DESCRIPTION = "PreProcess: {transform_ops: [{ToCHWImage: }]}\n"
OTHER = "PreProcess: {transform_ops: [{ToFloat32: }, {ToCHWImage: }]}\n"
# Of PaddleOCR, Paddle Serving and PaddleX: beside models, and no description of a classifier.
NOT_OURS = {
    "config.yaml": "Global: {epoch_num: 500}\nArchitecture: {model_type: rec}\n",
    "config.yml": "rpc_port: 9998\nop: {imagenet: {concurrency: 1}}\n",
    "labels.yml": "- cat\n- dog\n",
    "ops.yml": "- ToCHWImage:\n",
    ".hidden.yml": DESCRIPTION,
    "bundle.yml": DESCRIPTION,
    "inference.json": '{"base_code": {"magic": "pir"}}',
    "broken.json": "{",
}


@pytest.mark.parametrize(
    "name",
    ["inference.yaml", "inference_cls.yml", "inference_peach.yaml", "deploy.yml", "config.yaml"],
)
def test_a_description_under_another_name_is_found(tmp_path: Path, name: str) -> None:
    for other, text in NOT_OURS.items():
        (tmp_path / other).write_text(text)
    assert description_beside(tmp_path) is None
    (tmp_path / name).write_text(DESCRIPTION)
    assert description_beside(tmp_path) == tmp_path / name


def test_a_json_file_is_looked_into(tmp_path: Path) -> None:
    (tmp_path / "description.json").write_text(
        json.dumps({"PreProcess": {"transform_ops": ["ToCHWImage"]}})
    )
    assert description_beside(tmp_path) == tmp_path / "description.json"


def test_usual_names_win_in_the_order_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(OTHER)
    for name in ("inference_cls.yaml", "model.yml", "inference.yml"):
        (tmp_path / name).touch()
        assert description_beside(tmp_path) == tmp_path / name


def test_several_descriptions_that_differ_are_listed(
    make_export: MakeExport, tmp_path: Path
) -> None:
    export = make_export(description=None)
    (export / "inference_a.yaml").write_text(DESCRIPTION)
    (export / "inference_b.yaml").write_text(DESCRIPTION)
    assert description_beside(export) == export / "inference_a.yaml"
    (export / "inference_b.yaml").write_text(OTHER)
    with pytest.raises(
        ConversionError, match=r"2 descriptions .*inference_a\.yaml, inference_b\.yaml.*--preproc"
    ):
        convert(ConvertOptions(export, tmp_path / "out"))
    chosen = Overrides(preprocess=str(export / "inference_fit.yaml"))
    (export / "inference_fit.yaml").write_text(
        "PreProcess: {transform_ops: [{ResizeImage: {size: 4}}, {NormalizeImage: {order: ''}},"
        " {ToCHWImage: }]}\n"
    )
    with pytest.raises(ConversionError, match=r"classes are unknown .*holds 3 descriptions"):
        convert(ConvertOptions(export, tmp_path / "out", chosen))
    (export / "labels.txt").write_text("a\nb\nc\n")
    warnings: list[str] = []
    convert(ConvertOptions(export, tmp_path / "out", chosen), warn=warnings.append)
    assert warnings == []


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        ("# 类别\n".encode("gbk") + DESCRIPTION.encode(), r"not YAML in UTF-8 \(line 1\)"),
        (DESCRIPTION.encode("utf-16"), "is UTF-16; save it as UTF-8"),
        (b"PreProcess: {\n", "cannot be read as YAML"),
        (b" \n", "is empty"),
        (b'a: "C:\\Users\\me"', "write a path of Windows without quotes"),
        (b"Deploy: {transforms: []}", "holds Deploy: it is of a segmentation by PaddleSeg"),
        (b"a: " + b"x" * document_module.MAX_BYTES, "larger than 4 MiB"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(
    make_export: MakeExport, tmp_path: Path, content: bytes, cause: str
) -> None:
    export = make_export(description=None)
    for name in ("peach.yaml", "inference.yml"):
        (export / name).write_bytes(content)
        with pytest.raises((BundleError, ConversionError), match=cause) as error:
            convert(ConvertOptions(export, tmp_path / "out"))
        assert str(export / name) in str(error.value)
        (export / name).unlink()
    assert unusable_beside(export) == ()


def test_json_keeps_numbers_that_yaml_takes_for_text(tmp_path: Path) -> None:
    path = tmp_path / "x.yml"
    path.write_text('{"scale": 1e-5}')
    assert load_document(path) == {"scale": 1e-5}
    path.write_text("{scale: 1}")
    assert load_document(path) == {"scale": 1}
    (tmp_path / "x.json").write_text('{"a": 1, "a": 2}')
    with pytest.raises(BundleError, match=r"x\.json: the key 'a' is given twice"):
        load_document(tmp_path / "x.json")
