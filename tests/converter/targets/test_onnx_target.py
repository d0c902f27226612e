"""`export --to onnx`: real models give the bundle's own scores, and bad input is one line."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle import load_bundle
from bundle.inference_yml import read_inference_yml
from bundle.labels import read_labels
from converter.__main__ import main
from converter.checking.comparison import Trial
from converter.errors import ConversionError
from pipeline.stages.preprocess import build_preprocess
from tests.patience import PATIENCE_S

MakeExport = Callable[..., Path]
RealBundle = Callable[[str], Path]
ExportBundle = Callable[..., Any]
Exported = Callable[[str, str], tuple[Path, str]]

# paddle2onnx is not made for Python 3.13
HAS_ONNX = all(importlib.util.find_spec(n) for n in ("paddle", "paddle2onnx", "onnxruntime"))
needs_onnx = pytest.mark.skipif(not HAS_ONNX, reason="the extra export is not installed")

MODELS = [
    ("waste", (3, 224, 224)),
    ("pir", (3, 4, 4)),
    ("pdmodel", (3, 4, 4)),
    ("PP-LCNet_x1_0_doc_ori", (3, 224, 224)),
    ("PP-LCNet_x0_25_textline_ori", (3, 80, 160)),
    ("ch_ppocr_mobile_v2_cls_infer", (3, 48, 192)),
    ("imagenet_shufflenetv2_fluid_sep", (3, 224, 224)),
]


def _session(folder: Path) -> Any:
    import onnxruntime

    file = str(folder / "inference.onnx")
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])


def _nothing_left(parent: Path) -> bool:
    return not parent.exists() or not list(parent.iterdir())


@pytest.mark.slow
@needs_onnx
@pytest.mark.parametrize(("name", "shape"), MODELS)
def test_real_models(
    exported: Exported, real_bundle: RealBundle, name: str, shape: tuple[int, ...]
) -> None:
    folder, shown = exported(name, "onnx")
    assert sorted(p.name for p in folder.iterdir()) == [
        "inference.onnx",
        "inference.yml",
        "labels.txt",
    ]
    for expected in ("inference.onnx", "ONNX Runtime", "Paddle", "the same best class in 8 of 8"):
        assert expected in shown
    bundle = load_bundle(real_bundle(name))
    assert read_labels(folder / "labels.txt") == bundle.labels
    assert read_inference_yml(folder / "inference.yml") == bundle.description
    session = _session(folder)
    (feed,) = session.get_inputs()
    assert feed.name == bundle.model_config.feeds[0].name
    assert not isinstance(feed.shape[0], int)  # any batch
    batch = np.random.default_rng(3).random((3, *shape), np.float32)
    (together,) = session.run(None, {feed.name: batch})
    assert together.shape == (3, bundle.classes)
    (alone,) = session.run(None, {feed.name: batch[:1]})
    assert np.allclose(together[:1], alone, atol=1e-5)


@needs_onnx
def test_loading_it_is_silent(exported: Exported) -> None:
    """ONNX Runtime warns of constants that nothing uses, and paddle2onnx leaves dozens."""
    file = exported("waste", "onnx")[0] / "inference.onnx"
    code = "import onnxruntime, sys; onnxruntime.InferenceSession(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, check=True, timeout=PATIENCE_S
    )
    assert b"Removing initializer" not in done.stderr


@needs_onnx
@pytest.mark.parametrize(
    ("name", "image", "label"),
    [
        ("waste", "examples/images/cardboard_box.jpg", "可回收物/纸板"),
        ("PP-LCNet_x1_0_doc_ori", "img_rot180_demo.jpg", "180"),
        ("PP-LCNet_x0_25_textline_ori", "textline_orientation_test_1_0.png", "180_degree"),
        ("imagenet_shufflenetv2_fluid_sep", "egypt_cat.jpg", "tabby, tabby cat"),
    ],
)
def test_the_folder_is_all_that_answering_needs(
    request: pytest.FixtureRequest,
    exported: Exported,
    root: Path,
    name: str,
    image: str,
    label: str,
) -> None:
    folder, _ = exported(name, "onnx")
    file = root / image
    if not file.is_file():
        file = request.getfixturevalue("shared") / "images" / image
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    description = read_inference_yml(folder / "inference.yml")
    array = build_preprocess(description.transform_ops)(image)
    session = _session(folder)
    scores = session.run(None, {session.get_inputs()[0].name: array[None]})[0][0]
    assert read_labels(folder / "labels.txt")[int(scores.argmax())] == label


@needs_onnx
def test_a_fixed_batch_and_several_outputs(exported: Exported, real_bundle: RealBundle) -> None:
    folder, shown = exported("two outputs", "onnx")
    session = _session(folder)
    assert session.get_inputs()[0].shape == [2, 3, 4, 4]
    assert len(session.get_outputs()) == 2
    assert "8 images" in shown


@needs_onnx
def test_a_model_that_takes_whole_numbers(exported: Exported) -> None:
    folder, shown = exported("uint8", "onnx")
    assert _session(folder).get_inputs()[0].type == "tensor(uint8)"
    assert "the same best class in 8 of 8" in shown


@needs_onnx
@pytest.mark.parametrize("full", ["output", "temporary"])
def test_a_full_disk_is_no_fault_of_the_model(
    real_bundle: RealBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    full: str,
) -> None:
    said = "Traceback ...\nOSError: [Errno 28] No space left on device\n"
    monkeypatch.setattr(
        "converter.targets.onnx_target.run_step",
        lambda command, *_: subprocess.CompletedProcess(command, 1, said),
    )
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda path: usage._replace(free=int((path == temporary) != (full == "temporary"))),
    )
    message = _refused(real_bundle("waste"), "onnx", tmp_path / "a/out", capsys)
    where = {"output": tmp_path / "a", "temporary": f"{temporary} for temporary files"}[full]
    assert f"no space left in {where}; free some, or set " in message
    assert "TMPDIR" in message
    assert _nothing_left(tmp_path / "a")
    assert _nothing_left(temporary)


@needs_onnx
def test_past_the_tolerance_nothing_is_written(
    export_bundle: ExportBundle, real_bundle: RealBundle, tmp_path: Path
) -> None:
    output = tmp_path / "exports/waste"
    done = export_bundle(real_bundle("waste"), "onnx", output, "--tolerance", "0")
    assert done.returncode == 1
    assert "differs from the bundle by" in done.stderr.splitlines()[-1]
    assert done.stdout == ""
    assert _nothing_left(output.parent)


@pytest.mark.parametrize("wrong", [0.25, float("nan")])
def test_other_scores_are_refused(wrong: float) -> None:
    scores = np.array([[0.5, 0.5], [0.9, 0.1]], np.float32)
    trial = Trial((np.zeros((2, 3)),), (0, 1), (scores,), "Paddle")
    agreement = trial.compare("other", lambda _: [scores.copy()], 0.0)
    assert (agreement.difference, agreement.same_best, agreement.images) == (0, 2, 2)
    other = scores.copy()
    other[1, 1] = wrong
    with pytest.raises(ConversionError, match="differs from the bundle by"):
        trial.compare("other", lambda _: [other], 1e-2)
    with pytest.raises(ConversionError, match=r"the shape \[2, 1\]"):
        trial.compare("other", lambda _: [scores[:, :1]], 1e-2)


def test_the_difference_is_relative_to_the_largest_score() -> None:
    undecided = np.full((2, 1000), 1e-3, np.float32)
    trial = Trial((np.zeros((2, 3)),), (0, 1), (undecided,), "Paddle")
    with pytest.raises(ConversionError, match="differs"):
        trial.compare("other", lambda _: [undecided * 0.99], 1e-4)
    assert not trial.compare("other", lambda _: [undecided], 1e-4).distinguishes


@needs_onnx
def test_images_of_ones_own(
    export_bundle: ExportBundle, real_bundle: RealBundle, root: Path, tmp_path: Path
) -> None:
    images = str(root / "examples/images")
    done = export_bundle(real_bundle("waste"), "onnx", tmp_path / "out", "--images", images)
    assert done.returncode == 0, done.stderr
    assert "11 images" in done.stdout


@needs_onnx
def test_unreadable_images_are_left_out_and_named(
    export_bundle: ExportBundle, real_bundle: RealBundle, root: Path, tmp_path: Path
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "good.jpg").symlink_to(root / "examples/images/metal_can.jpg")
    (images / "lost.jpg").symlink_to(tmp_path / "deleted.jpg")
    (images / "bad.jpg").write_bytes(b"no image")
    done = export_bundle(
        real_bundle("waste"), "onnx", tmp_path / "out", "--images", str(images), COLUMNS="500"
    )
    assert done.returncode == 0, done.stderr
    assert "1 images" in done.stdout
    assert f"2 unreadable, and left out: {images / 'lost.jpg'}, {images / 'bad.jpg'}" in done.stdout


@needs_onnx
@pytest.mark.parametrize("kind", ["missing", "no image", "empty folder"])
def test_images_that_are_none(
    real_bundle: RealBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], kind: str
) -> None:
    images = tmp_path / "images"
    if kind == "no image":
        images.write_text("an image")
    elif kind == "empty folder":
        images.mkdir()
    arguments = ["export", str(real_bundle("waste")), "--to", "onnx", "--images", str(images)]
    assert main([*arguments, "--output", str(tmp_path / "a/out")]) == 1
    message = capsys.readouterr().err.splitlines()[-1]
    assert message.startswith("error: ")
    assert f"{images}: " in message
    assert _nothing_left(tmp_path / "a")


@needs_onnx
def test_an_existing_export_is_replaced_by_force_only(
    export_bundle: ExportBundle, real_bundle: RealBundle, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "inference.onnx").write_bytes(b"old")
    (output / "NOTES").write_text("mine")
    done = export_bundle(real_bundle("pir"), "onnx", output)
    assert done.returncode == 1
    assert done.stderr == f"error: {output}: exists; give --force to replace it\n"
    assert (output / "inference.onnx").read_bytes() == b"old"
    done = export_bundle(real_bundle("pir"), "onnx", output, "--force")
    assert done.returncode == 0, done.stderr
    assert (output / "inference.onnx").stat().st_size > 3
    assert (output / "NOTES").read_text() == "mine"


def _refused(
    bundle: Path, to: str, output: Path, capsys: pytest.CaptureFixture[str], *more: str
) -> str:
    """The one line of an export that writes nothing."""
    assert main(["export", str(bundle), "--to", to, "--output", str(output), *more]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    *progress, last = captured.err.splitlines()
    assert all(line.endswith(" ...") for line in progress)
    assert last.startswith("error: ")
    return last


@pytest.mark.parametrize("to", ["onnx", "paddle-lite"])
def test_outputs_that_stand_in_the_way(
    real_bundle: RealBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    bundle = tmp_path / "waste"
    shutil.copytree(real_bundle("waste"), bundle)
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder/labels.txt").write_text("mine")
    for output, cause in (
        (bundle / "out", "inside the bundle"),
        (bundle / "serving_server", "inside the bundle"),
        (tmp_path, "holds the bundle"),
        (tmp_path / "file", "is no folder"),
        (tmp_path / "folder", "export; choose another place"),
    ):
        assert cause in _refused(bundle, to, output, capsys, "--force")
    assert (tmp_path / "file").read_text() == "mine"
    assert (tmp_path / "folder/labels.txt").read_text() == "mine"


@needs_onnx
def test_no_permission_to_write(
    real_bundle: RealBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    output = tmp_path / "file/out"
    assert f"{output}: cannot be written" in _refused(real_bundle("waste"), "onnx", output, capsys)


@pytest.mark.parametrize("to", ["onnx", "paddle-lite"])
def test_bundles_that_are_none(
    make_export: MakeExport,
    real_bundle: RealBundle,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    to: str,
) -> None:
    output = tmp_path / "out"
    assert "is no serving bundle" in _refused(tmp_path / "nowhere", to, output, capsys)
    assert "is no serving bundle" in _refused(make_export("pir"), to, output, capsys)
    for file in ("inference.pdiparams", "inference.json"):
        cut = tmp_path / "cut"
        shutil.copytree(real_bundle("waste"), cut)
        model = cut / "serving_server" / file
        model.write_bytes(model.read_bytes()[:-100])
        assert f"{model} has" in _refused(cut, to, output, capsys)
        # a bundle of 0.9 has no record of sizes
        (cut / "bundle.yml").unlink()
        assert f"{model}" in _refused(cut, to, output, capsys)
        shutil.rmtree(cut)
    assert not output.exists()


@needs_onnx
def test_a_graph_that_cannot_be_translated(
    make_export: MakeExport, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = tmp_path / "bundle"
    assert main(["convert", str(make_export("pir")), "--no-onnx", "--output", str(bundle)]) == 0
    capsys.readouterr()
    line = _refused(bundle, "onnx", tmp_path / "a/out", capsys)
    assert f"{bundle}: paddle2onnx cannot translate the model" in line
    assert _nothing_left(tmp_path / "a")


@pytest.mark.skipif(HAS_ONNX, reason="the extra export is installed")
def test_a_missing_package_is_named(
    real_bundle: RealBundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = _refused(real_bundle("waste"), "onnx", tmp_path / "out", capsys)
    assert "cannot be imported; install" in line
    assert "-e '.[cpu,export]'" in line


@pytest.mark.parametrize("more", [["--to", "tflite"], [], ["--to", "onnx", "--tolerance", "-1"]])
def test_wrong_usage(more: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_error:
        main(["export", "bundle", "--output", "out", *more])
    assert exit_error.value.code == 2
    assert "usage:" in capsys.readouterr().err


@needs_onnx
@pytest.mark.parametrize(
    ("to", "message"),
    [("onnx", "is ONNX already; take serving_server/inference.onnx"), ("paddle-lite", "is ONNX; ")],
)
def test_an_export_is_converted_again_and_not_exported_again(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str, message: str
) -> None:
    bundle = tmp_path / "bundle"
    assert main(["convert", str(exported("pir", "onnx")[0]), "--output", str(bundle)]) == 0
    assert main(["verify", str(bundle)]) == 0
    capsys.readouterr()
    assert message in _refused(bundle, to, tmp_path / "out", capsys)
