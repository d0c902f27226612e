"""The ONNX form of bundles: made at conversion or later, compared, recorded, left out."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bundle import load_bundle
from converter.__main__ import main
from converter.bundling.record import changed_files
from converter.checking.verify import verify
from converter.errors import ConversionError
from converter.targets import onnx_form, onnx_target
from converter.targets.onnx_form import add_onnx, made_or_why_not
from converter.targets.target import Source
from pipeline.predictors import PredictorOptions
from pipeline.predictors.registry import load_predictor

MakeExport = Callable[..., Path]
RealBundle = Callable[[str], Path]

# paddle2onnx is not made for Python 3.13
HAS_ONNX = all(importlib.util.find_spec(n) for n in ("paddle", "paddle2onnx", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="the extra export is not installed")


def quiet(_step: str) -> None:
    """Say nothing."""


@pytest.fixture
def bundle(real_bundle: RealBundle, tmp_path: Path) -> Path:
    """A copy of a small bundle of Paddle, without other forms."""
    return Path(shutil.copytree(real_bundle("pir"), tmp_path / "model"))


@needs_onnx
def test_a_conversion_makes_the_form_and_the_record_names_it(
    paddle_export: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    assert main(["convert", str(paddle_export("pir")), "--output", str(output)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "form onnx made by paddle2onnx" in shown
    assert "ONNX Runtime yes" in shown
    loaded = load_bundle(output)
    assert list(loaded.forms) == ["export", "onnx"]
    record = yaml.safe_load((output / "bundle.yml").read_text(encoding="utf-8"))
    assert record["forms"]["onnx"]["largest_difference"] < 1e-4
    assert "serving_server/onnx/inference.onnx" in record["files"]
    # Both forms answer alike, in batches too.
    batch = np.random.default_rng(1).random((3, 3, 4, 4), np.float32)
    scores = [
        load_predictor(loaded, options=PredictorOptions(form=name))[1].predict(batch)
        for name in loaded.forms
    ]
    np.testing.assert_allclose(scores[0], scores[1], atol=1e-5)


def test_no_onnx_leaves_it_out(
    paddle_export: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "model"
    command = ["convert", str(paddle_export("pir")), "--no-onnx", "--output", str(output)]
    assert main(command) == 0
    assert "ONNX form" not in capsys.readouterr().out
    assert list(load_bundle(output).forms) == ["export"]


def test_without_the_tools_a_conversion_says_what_to_install(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_form, "missing_packages", lambda: "paddle2onnx is not here; get it")
    why_not = made_or_why_not(load_bundle(bundle), quiet)
    assert why_not.startswith("not made, for paddle2onnx is not here")
    assert f"add-onnx {bundle}" in why_not
    assert list(load_bundle(bundle).forms) == ["export"]


@needs_onnx
def test_it_is_added_to_a_bundle_and_replaces_an_earlier_one(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add-onnx", str(bundle)]) == 0
    assert "inference.onnx" in capsys.readouterr().out
    file = bundle / "serving_server/onnx/inference.onnx"
    first = file.read_bytes()
    file.with_name("notes.txt").write_text("of an earlier version", encoding="utf-8")
    assert main(["add-onnx", str(bundle)]) == 0
    assert [path.name for path in file.parent.iterdir()] == ["inference.onnx"]
    assert file.read_bytes() == first
    assert changed_files(bundle) == []
    assert [path.name for path in bundle.iterdir() if path.name.startswith(".")] == []


@needs_onnx
def test_verify_compares_every_form(bundle: Path) -> None:
    add_onnx(bundle, quiet)
    verification = verify(bundle)
    assert verification.runtime.startswith("ONNX Runtime")
    (export,) = verification.forms
    assert (export.form, export.exact) == ("export", True)
    assert export.runtime.startswith("Paddle")
    assert verification.passed


@needs_onnx
def test_a_form_that_was_exchanged_is_seen(bundle: Path) -> None:
    add_onnx(bundle, quiet)
    file = bundle / "serving_server/onnx/inference.onnx"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert changed_files(bundle) == ["serving_server/onnx/inference.onnx"]
    with pytest.raises(ConversionError, match="is not the file the bundle was made with"):
        verify(bundle)


@needs_onnx
def test_a_graph_that_answers_otherwise_is_not_added(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = onnx_target._open_session

    def wrong(source: Source, file: Path) -> Any:
        runtime, run = opened(source, file)
        return runtime, lambda batches: [scores[:, ::-1] for scores in run(batches)]

    monkeypatch.setattr(onnx_target, "_open_session", wrong)
    before = (bundle / "bundle.yml").read_bytes()
    assert "differs from the bundle" in made_or_why_not(load_bundle(bundle), quiet)
    assert list(load_bundle(bundle).forms) == ["export"]
    assert (bundle / "bundle.yml").read_bytes() == before
    assert [path.name for path in bundle.iterdir() if path.name.startswith(".")] == []


def test_an_onnx_export_needs_none(write_onnx: Callable[[Path], None], tmp_path: Path) -> None:
    export, output = tmp_path / "export", tmp_path / "model"
    export.mkdir()
    write_onnx(export / "net.onnx")
    (export / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    command = ["convert", str(export), "--output", str(output)]
    command += ["--preprocess", "torchvision:resize=8,crop=8"]
    assert main([*command, "--labels", str(export / "labels.txt")]) == 0
    assert made_or_why_not(load_bundle(output), quiet) == ""
    assert list(load_bundle(output).forms) == ["export"]
    with pytest.raises(ConversionError, match="is ONNX already"):
        add_onnx(output, quiet)


@needs_onnx
def test_a_bundle_that_cannot_be_written_is_one_line(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_arguments: object, **_options: object) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(onnx_form.tempfile, "mkdtemp", refused)
    with pytest.raises(ConversionError, match="Permission denied"):
        add_onnx(bundle, quiet)
