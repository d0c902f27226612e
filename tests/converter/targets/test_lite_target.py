"""`export --to paddle-lite`: real models give the bundle's scores, and bad input is one line."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from bundle import load_bundle
from bundle.inference_yml import read_inference_yml
from converter.__main__ import main
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from tests.patience import PATIENCE_S

MakeExport = Callable[..., Path]
RealBundle = Callable[[str], Path]
ExportBundle = Callable[..., Any]
Exported = Callable[[str, str], tuple[Path, str]]

WASTE_CONFIG = """\
clas_model_file /data/local/tmp/arm_cpu/waste.nb
label_path /data/local/tmp/arm_cpu/labels.txt
resize_short_size 240
crop_size 224
visualize 0
num_threads 1
batch_size 1
precision FP32
runtime_device arm_cpu
enable_benchmark 0
tipc_benchmark 0
"""


@pytest.fixture(scope="session")
def lite_python(root: Path) -> Path:
    """The interpreter that knows paddlelite."""
    built = root / "build/paddle-lite-env/bin/python"
    python = Path(os.environ.get("PADDLE_LITE_PYTHON") or built)
    if not python.is_file():
        pytest.skip("no environment with paddlelite; `make paddle-lite-env` builds it")
    return python


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("waste", True),
        ("pir", False),
        ("pdmodel", False),
        ("operators", False),
        ("PP-LCNet_x1_0_doc_ori", True),
        ("PP-LCNet_x0_25_textline_ori", False),
        ("ch_ppocr_mobile_v2_cls_infer", False),
        ("imagenet_shufflenetv2_fluid_sep", True),
    ],
)
def test_real_models(
    lite_python: Path, exported: Exported, real_bundle: RealBundle, name: str, config: bool
) -> None:
    folder, shown = exported(name, "paddle-lite")
    files = {f"{name}.nb", "inference.yml", "labels.txt"} | ({"config.txt"} if config else set())
    assert {path.name for path in folder.iterdir()} == files
    assert ("config.txt is left out" in shown) != config
    for expected in (f"{name}.nb", "Paddle-Lite v2.12", "the same best class in 8 of 8"):
        assert expected in shown
    bundle = load_bundle(real_bundle(name))
    assert read_inference_yml(folder / "inference.yml") == bundle.description
    lines = (folder / "labels.txt").read_text(encoding="utf-8").splitlines()
    assert lines == [f"{number} {label}" for number, label in enumerate(bundle.labels or ())]


def test_the_phone_demos_config(lite_python: Path, exported: Exported) -> None:
    folder, _ = exported("waste", "paddle-lite")
    assert (folder / "config.txt").read_text(encoding="utf-8") == WASTE_CONFIG


def test_what_the_demo_cannot_do_is_said(
    lite_python: Path,
    exported: Exported,
    export_bundle: ExportBundle,
    paddle_export: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    _, shown = exported("PP-LCNet_x0_25_textline_ori", "paddle-lite")
    assert "the model needs ResizeImage, NormalizeImage, ToCHWImage" in " ".join(shown.split())
    _, shown = exported("two outputs", "paddle-lite")
    assert "it reads the first output, and the scores are another" in " ".join(shown.split())
    aliases = ("prediction", "probability")
    first = ConvertOptions(
        paddle_export("two outputs"),
        tmp_path / "first",
        Overrides(logits=True),
        fetch_aliases=aliases,
    )
    done = export_bundle(convert(first).path, "paddle-lite", tmp_path / "out")
    assert "the model takes 2 images a run" in " ".join(done.stdout.split()), done.stderr


@pytest.mark.parametrize(
    ("step", "options", "cause"),
    [
        ("NormalizeImage", {"mean": [0.5, 0.5, 0.5]}, "ImageNet's mean"),
        ("NormalizeImage", {"scale": 1.0}, "scales pixels by 1/255"),
        ("ResizeImage", {"interpolation": "area"}, "resizes bilinearly"),
        ("ResizeImage", {"backend": "pil"}, "it has no backend; the model needs pil"),
        ("CropImage", {"rounding": "even"}, "it has no rounding; the model needs even"),
    ],
)
def test_other_preprocessing_than_the_demos_gets_no_config(
    lite_python: Path,
    export_bundle: ExportBundle,
    real_bundle: RealBundle,
    tmp_path: Path,
    step: str,
    options: dict[str, Any],
    cause: str,
) -> None:
    bundle = tmp_path / "my bundle"
    shutil.copytree(real_bundle("waste"), bundle)
    description = bundle / "serving_server/inference.yml"
    document = yaml.safe_load(description.read_text(encoding="utf-8"))
    for operator in document["PreProcess"]["transform_ops"]:
        if step in operator:
            operator[step].update(options)
    description.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    done = export_bundle(bundle, "paddle-lite", tmp_path / "out", "--tolerance", "0.001")
    assert done.returncode == 0, done.stderr
    assert cause in " ".join(done.stdout.split())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "inference.yml",
        "labels.txt",
        "my_bundle.nb",  # config.txt's values end at a space
    ]


def test_past_the_tolerance_nothing_is_written(
    lite_python: Path, export_bundle: ExportBundle, real_bundle: RealBundle, tmp_path: Path
) -> None:
    output = tmp_path / "exports/waste"
    done = export_bundle(real_bundle("waste"), "paddle-lite", output, "--tolerance", "0")
    assert done.returncode == 1
    assert "differs from the bundle by" in done.stderr.splitlines()[-1]
    assert "Paddle-Lite v2.12 (x86)" in done.stderr
    assert done.stdout == ""
    assert not list(output.parent.iterdir())


def test_an_existing_export_is_replaced_by_force_only(
    lite_python: Path, export_bundle: ExportBundle, real_bundle: RealBundle, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    for name in ("pir.nb", "config.txt", "NOTES"):
        (output / name).write_text("old")
    done = export_bundle(real_bundle("pir"), "paddle-lite", output)
    assert (done.returncode, done.stderr) == (
        1,
        f"error: {output}: exists; give --force to replace it\n",
    )
    done = export_bundle(real_bundle("pir"), "paddle-lite", output, "--force")
    assert done.returncode == 0, done.stderr
    # this model's preprocessing is not the demo's: no config.txt of an earlier export is left
    assert not (output / "config.txt").exists()
    assert (output / "pir.nb").read_bytes() != b"old"
    assert (output / "NOTES").read_text() == "old"


def _refused(bundle: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line of an export that writes nothing."""
    assert main(["export", str(bundle), "--to", "paddle-lite", "--output", str(output)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    *progress, last = captured.err.splitlines()
    assert all(line.endswith(" ...") for line in progress)
    assert last.startswith("error: ")
    assert not output.exists()
    return last


@pytest.mark.parametrize(
    ("python", "cause"),
    [
        ("/nowhere/bin/python", "PADDLE_LITE_PYTHON=/nowhere/bin/python: no such file"),
        (sys.executable, "has no paddlelite"),
        (__file__, "cannot be run"),
        ("/bin/false", "/bin/false: cannot run Paddle-Lite's tools (it ends with 1: it says noth"),
        ("/bin/true", "/bin/true wrote no model for arm; run `make paddle-lite-env`, or let"),
    ],
)
def test_an_interpreter_that_is_none(
    real_bundle: RealBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    python: str,
    cause: str,
) -> None:
    monkeypatch.setenv("PADDLE_LITE_PYTHON", python)
    line = _refused(real_bundle("waste"), tmp_path / "out", capsys)
    assert cause in line
    assert not list(tmp_path.iterdir())


def test_no_environment_at_all(real_bundle: RealBundle, root: Path, tmp_path: Path) -> None:
    """A copy of the kit, so that an environment that was built does not help."""
    for room in ("converter", "bundle", "pipeline", "protocol"):
        shutil.copytree(root / room, tmp_path / "kit" / room)
    command = [sys.executable, "-m", "converter", "export", str(real_bundle("waste"))]
    done = subprocess.run(
        [*command, "--to", "paddle-lite", "--output", str(tmp_path / "out")],
        cwd=tmp_path / "kit",
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: Paddle-Lite is not installed; run `make paddle-lite-env`")


def test_an_operator_that_is_not_translated(
    make_export: MakeExport,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # found before Paddle-Lite runs
    monkeypatch.setenv("PADDLE_LITE_PYTHON", sys.executable)
    bundle = tmp_path / "bundle"
    export = str(make_export("pir", last="gelu"))
    assert main(["convert", export, "--output", str(bundle), "--logits"]) == 0
    capsys.readouterr()
    line = _refused(bundle, tmp_path / "out", capsys)
    assert "inference.json" in line
    assert "gelu is not known" in line
    assert "FLAGS_enable_pir_api=0" in line


def test_a_model_that_paddle_lite_aborts_on(
    lite_python: Path, make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    assert main(["convert", str(make_export("pdmodel")), "--no-onnx", "--output", str(bundle)]) == 0
    capsys.readouterr()
    line = _refused(bundle, tmp_path / "out", capsys)
    assert f"{bundle}: Paddle-Lite cannot optimize the model (it crashed" in line
    assert "Check failed" in line


def test_no_permission_to_write(
    lite_python: Path,
    real_bundle: RealBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file/out"
    assert f"{output}: cannot be written" in _refused(real_bundle("waste"), output, capsys)


def test_a_full_disk_is_no_fault_of_the_model(
    real_bundle: RealBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        "echo '[F 1/1  0: 0: 0.0 base/io.cc:1 Write] Check failed: (fwrite(src, 1,"
        " size, file_) == size): '\n"
        "kill -ABRT $$\n"
    )
    python.chmod(0o755)
    monkeypatch.setenv("PADDLE_LITE_PYTHON", str(python))
    line = _refused(real_bundle("waste"), tmp_path / "out", capsys)
    assert "no space left in " in line
    assert "train one of them" not in line
