"""The description beside a model is found by what it holds."""

from __future__ import annotations

import json
import os
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
VIT = {"image_processor_type": "ViTImageProcessor", "size": 4}
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


def test_a_label_file_beside_a_description_with_labels(
    make_export: MakeExport, tmp_path: Path
) -> None:
    """transformers calls classes LABEL_0, LABEL_1 ... unless it is given their names."""
    export = make_export(description=None)
    own, own_names = ["glass", "metal", "paper"], ["g", "m", "p"]
    (export / "preprocessor_config.json").write_text(json.dumps(VIT))
    (export / "labels.txt").write_text("\n".join(own))
    warnings: list[str] = []

    def converted(names: list[str], labels: Path | None = None) -> tuple[str, ...] | None:
        config = {"id2label": dict(enumerate(names))}
        (export / "config.json").write_text(json.dumps(config))
        warnings.clear()
        options = ConvertOptions(export, tmp_path / "out", Overrides(labels=labels), force=True)
        return convert(options, warn=warnings.append).labels

    assert converted([f"LABEL_{number}" for number in range(3)]) == tuple(own)
    assert converted(own) == tuple(own)
    assert not warnings
    assert converted(own_names) == tuple(own_names)
    assert "labels.txt: has other labels than" in warnings[0]
    assert converted(own_names, export / "labels.txt") == tuple(own)
    assert not warnings


def test_a_preset_for_a_model_that_says_otherwise(make_export: MakeExport, tmp_path: Path) -> None:
    export = make_export(description=None)
    (export / "labels.txt").write_text("a\nb\nc")
    warnings: list[str] = []

    def warned(preset: str) -> bool:
        warnings.clear()
        overrides = Overrides(preprocess=preset)
        convert(ConvertOptions(export, tmp_path / "out", overrides, force=True), warnings.append)
        return any("leave the option out" in warning for warning in warnings)

    (export / "preprocessor_config.json").write_text(json.dumps(VIT))
    assert warned("torchvision:resize=4,crop=4")
    # the same numbers, written otherwise
    deploy = {
        "ResizeImage": {"size": 4, "backend": "pil"},
        "NormalizeImage": {"scale": 0.00392157, "order": ""},
        "ToCHWImage": None,
    }
    (export / "inference.yml").write_text(
        json.dumps({"PreProcess": {"transform_ops": [{name: deploy[name]} for name in deploy]}})
    )
    assert not warned("keras-torch:size=4,interpolation=bilinear")
    assert warned("torchvision:resize=4,crop=4")


def test_a_preset_for_an_onnx_file_that_says_otherwise(
    tmp_path: Path, write_onnx: Callable[..., object]
) -> None:
    onnx = pytest.importorskip("onnx")
    export = tmp_path / "export"
    export.mkdir()
    write_onnx(export / "net.onnx", size=224)
    model = onnx.load(str(export / "net.onnx"))
    said = {"task": "classify", "names": "{0: 'a', 1: 'b', 2: 'c'}", "imgsz": "[224, 224]"}
    onnx.helper.set_model_props(model, said)
    onnx.save(model, str(export / "net.onnx"))
    for preset, otherwise in (("imagenet-224", True), ("ultralytics-224", False)):
        warnings: list[str] = []
        overrides = Overrides(preprocess=preset)
        convert(ConvertOptions(export, tmp_path / "out", overrides, force=True), warnings.append)
        assert any("leave the option out" in warning for warning in warnings) is otherwise


def test_another_description_that_prepares_otherwise_is_a_warning(
    make_export: MakeExport, tmp_path: Path
) -> None:
    export = make_export()
    used = (export / "inference.yml").read_text()
    warnings: list[str] = []
    (export / "deploy.yml").write_text(used)
    convert(ConvertOptions(export, tmp_path / "alike"), warnings.append)
    assert warnings == []
    (export / "deploy.yml").write_text(
        used.replace("transform_ops:", "transform_ops:\n  - DecodeImage: {to_rgb: false}")
    )
    convert(ConvertOptions(export, tmp_path / "other"), warnings.append)
    (warning,) = warnings
    assert "inference.yml says, and otherwise than deploy.yml beside it says" in warning
    assert "--preprocess" in warning


def test_a_pipe_is_no_description(make_export: MakeExport) -> None:
    """Opening it would wait for a writer without an end."""
    export = make_export()
    for name in ("config.json", "model_config.yml"):
        os.mkfifo(export / name)
    assert unusable_beside(export) == ()
