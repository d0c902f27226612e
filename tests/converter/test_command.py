"""`python -m converter`: exit codes, one line on stderr, and what inspect prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.__main__ import main
from tests.patience import PATIENCE_S

MakeExport = Callable[..., Path]


def test_convert_then_inspect(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "serving_model/tiny"
    assert main(["convert", str(make_export("pir")), "--no-onnx", "--output", str(output)]) == 0
    shown = capsys.readouterr().out
    for expected in ("PIR", "[N, 3, 4, 4]", "prediction", "softmax", "ResizeImage(size=[4, 4])"):
        assert expected in shown
    assert main(["inspect", str(output)]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("layout", ["pir", "pdmodel", "fluid", "separate"])
def test_inspect_as_json(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str], layout: str
) -> None:
    export = make_export(layout)
    assert main(["inspect", str(export), "--json"]) == 0
    of_export = json.loads(capsys.readouterr().out)
    assert main(["convert", str(export), "--no-onnx", "--output", str(tmp_path / "out")]) == 0
    capsys.readouterr()
    assert main(["inspect", str(tmp_path / "out"), "--json"]) == 0
    of_bundle = json.loads(capsys.readouterr().out)
    assert (of_export.pop("kind"), of_bundle.pop("kind")) == ("export", "bundle")
    assert (of_export.pop("path"), of_bundle.pop("path")) == (str(export), str(tmp_path / "out"))
    record = of_bundle.pop("record")
    assert of_bundle.pop("forms") == {"export": of_bundle["model_file"]}
    assert of_export == of_bundle
    assert record["source"]["folder"] == layout
    assert record["files"]["serving_server/inference.yml"]
    assert of_bundle["feeds"] == [
        {"name": "x", "alias": "x", "dtype": "float32", "shape": [-1, 3, 4, 4]}
    ]
    assert (of_bundle["labels"], of_bundle["topk"], of_bundle["parameters"]) == (3, 2, 2)
    old = layout != "pir"
    served = {runtime: answer["serves"] for runtime, answer in of_bundle["served_by"].items()}
    assert served == {
        "Paddle 3.x": True,
        "Paddle 2.6": old,
        "Paddle Serving 0.9": old,
        "ONNX Runtime": False,
        "OpenVINO": layout == "pdmodel",
    }


def test_serving_0_9_needs_the_real_feed_name(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    assert (
        main(
            [
                "convert",
                str(make_export()),
                "--no-onnx",
                "--output",
                output,
                "--feed-alias",
                "image",
            ]
        )
        == 0
    )
    capsys.readouterr()
    main(["inspect", output, "--json"])
    answer = json.loads(capsys.readouterr().out)["served_by"]["Paddle Serving 0.9"]
    assert not answer["serves"]
    assert "alias" in answer["note"]


def test_an_export_without_a_description_can_be_inspected(
    make_export: MakeExport, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(make_export(description=None))]) == 0
    shown = capsys.readouterr().out
    assert "--preprocess" in shown
    assert "--labels" in shown


def test_label_files_beside_an_export_are_told(
    make_export: MakeExport, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make_export(description=None)
    (export / "labels.txt").write_text("a\nb\nc\n")
    assert main(["inspect", str(export), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == 3
    (export / "label_list.txt").write_text("a\nb\nc\n")
    assert main(["inspect", str(export)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "labels in one of labels.txt, label_list.txt; choose with --labels" in shown


def test_a_description_that_is_unreadable_does_not_hide_the_graph(
    make_export: MakeExport, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make_export(description="PreProcess: [\n")
    assert main(["inspect", str(export)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "description unreadable, because " in shown
    assert "[N, 3, 4, 4]" in shown
    assert main(["inspect", str(export), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert "cannot be read as YAML" in facts["description_error"]
    assert facts["preprocessing"] is None


def test_inspect_names_the_file_that_it_read(
    make_export: MakeExport, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make_export()
    (export / "inference.yml").rename(export / "inference_peach.yaml")
    assert main(["inspect", str(export)]) == 0
    assert "described by inference_peach.yaml" in " ".join(capsys.readouterr().out.split())
    (export / "another.yaml").write_text("PreProcess: {transform_ops: [ToCHWImage]}\n")
    assert main(["inspect", str(export), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["description_file"] is None
    assert "another.yaml, inference_peach.yaml" in facts["description_error"]


def test_inspect_finds_an_exchanged_parameter_file(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    main(["convert", str(make_export()), "--no-onnx", "--output", str(output)])
    params = output / "serving_server/inference.pdiparams"
    content = bytearray(params.read_bytes())
    content[-1] ^= 1
    params.write_bytes(content)
    capsys.readouterr()
    assert main(["inspect", str(output)]) == 1
    assert "is not the file the bundle was made with" in capsys.readouterr().err


def test_a_conversion_error_is_one_line(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export = make_export(description="PreProcess: [\n")
    assert main(["convert", str(export), "--no-onnx", "--output", str(tmp_path / "out")]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert "inference.yml" in captured.err


@pytest.mark.parametrize(
    "arguments",
    [[], ["convert"], ["convert", "x"], ["inspect"], ["transmogrify"], ["inspect", "--x"]],
)
def test_wrong_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_error:
        main(arguments)
    assert exit_error.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_chinese_labels_in_any_locale(
    make_export: MakeExport, tmp_path: Path, root: Path, locale: str
) -> None:
    labels, output = tmp_path / "标签.txt", tmp_path / "垃圾"
    labels.write_text("可回收物/玻璃, 透明\n其他垃圾\n厨余垃圾\n", encoding="utf-8")
    export = make_export(description=None)
    ops = tmp_path / "ops.yml"
    ops.write_text("# 预处理\n- ResizeImage: {size: [4, 4]}\n- ToCHWImage:\n", encoding="utf-8")
    command = [
        sys.executable,
        "-m",
        "converter",
        "convert",
        "--no-onnx",
        str(export),
        "--output",
        str(output),
    ]
    done = subprocess.run(
        [*command, "--labels", str(labels), "--preprocess", str(ops)],
        cwd=root,
        env={"PATH": os.environ["PATH"], "LANG": locale, "LC_ALL": locale},
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 0, done.stderr
    text = (output / "serving_server/inference.yml").read_text(encoding="utf-8")
    assert "- 可回收物/玻璃, 透明\n" in text


@pytest.mark.parametrize("tolerance", ["nan", "-1", "inf", "x"])
def test_a_tolerance_that_is_none(tolerance: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["verify", "nowhere", f"--tolerance={tolerance}"])
    assert stop.value.code == 2
    assert "--tolerance" in capsys.readouterr().err
