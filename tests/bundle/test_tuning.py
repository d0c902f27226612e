"""tuning.yml: read strictly, written whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from bundle import BundleError
from bundle.tuned import CpuFingerprint, TunedChoice, TunedImages, TunedRow, Tuning
from bundle.tuning import MAX_BYTES, model_digest, read_tuning, tuning_file, write_tuning

CHOICE = TunedChoice("onnxruntime", "onnx", "fp32", 4, 2, 1, fast_decode=True)
ROW = TunedRow(
    "paddle",
    "export",
    "fp32",
    1,
    2,
    1,
    fast_decode=False,
    images_per_s=123.5,
    same_best=3,
    compared=3,
    refused="ended with signal 11: it ate {all: of it}",
)
TUNING = Tuning(
    CHOICE,
    CpuFingerprint("AMD EPYC (family 25)", ("avx2", "avx512_vnni"), 2),
    "0" * 64,
    "2026-12-01T01:20:33Z",
    {"onnxruntime": "1.32.0"},
    TunedImages("garbage", 3, labelled=True),
    (ROW, replace(ROW, refused="", top1=0.5)),
)


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(root / "serving_model" / "waste", tmp_path / "waste"))


def edited(bundle: Path, change: Callable[[dict], object]) -> None:
    write_tuning(bundle, TUNING)
    document = yaml.safe_load(tuning_file(bundle).read_text(encoding="utf-8"))
    change(document)
    tuning_file(bundle).write_text(yaml.safe_dump(document), encoding="utf-8")


def test_what_is_written_is_read(bundle: Path) -> None:
    assert read_tuning(bundle) is None
    write_tuning(bundle, TUNING)
    assert read_tuning(bundle) == TUNING
    assert read_tuning(bundle / "serving_server") == TUNING
    assert [path.name for path in bundle.glob("*tuning*")] == ["tuning.yml"]
    assert tuning_file(bundle).stat().st_mode & 0o777 == 0o644


def test_a_person_reads_a_candidate_a_line_and_no_folder_of_this_machine(bundle: Path) -> None:
    text = write_tuning(bundle, TUNING).read_text(encoding="utf-8")
    assert text.count("\n- {backend: paddle, form: export,") == 2
    assert str(bundle) not in text
    assert "choice: {backend: onnxruntime, form: onnx, precision: fp32, batch_size: 4" in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["choice"].update(batch_size=65), "batch_size must be a whole number from 1"),
        (lambda d: d["choice"].update(batch_size=True), "choice.batch_size must be a whole"),
        (lambda d: d["choice"].update(workers=10**6), "choice.workers must be a whole number"),
        (lambda d: d["choice"].update(threads=0), "choice.threads must be a whole number"),
        (lambda d: d["choice"].update(form="../../etc"), "choice.form must be one of export, onnx"),
        (lambda d: d["choice"].update(form=["onnx"]), "choice.form must be one of export, onnx"),
        (lambda d: d["choice"].update(backend="/lib/x.so"), "choice.backend must be a name of"),
        (lambda d: d["choice"].update(precision="int8"), "choice.precision must be one of fp32"),
        (lambda d: d["choice"].update(fast_decode="no"), "choice.fast_decode must be true or"),
        (lambda d: d["choice"].update(library="x"), "has the unknown key choice.library"),
        (lambda d: d["choice"].pop("workers"), "choice.workers is missing"),
        (lambda d: d.update(choice=None), "choice must hold backend, form"),
        (lambda d: d.update(more=1), "has the unknown key 'more'"),
        (lambda d: d.update(format=2), "format is 2, and this kit reads 1"),
        (lambda d: d.update(model_sha256=5), "model_sha256 must be 64 hexadecimal digits"),
        (lambda d: d.update(made="yesterday"), "made must be a date such as"),
        (lambda d: d.update(made="2026-12-01T01:20:33Z\x1b[2J"), "made must be a date such as"),
        (lambda d: d.update(versions=["1"]), "versions must be texts by name"),
        (lambda d: d.update(versions={1: "1"}), "versions must be texts by name"),
        (lambda d: d["cpu"].update(flags="avx2"), "cpu.flags must be a list of names"),
        (lambda d: d["cpu"].update(cores=1.5), "cpu.cores must be a whole number"),
        (lambda d: d["images"].update(count=-1), "images.count must be a whole number"),
        (lambda d: d.update(candidates={}), "candidates must be a list"),
        (lambda d: d.update(candidates=[None] * 2001), "candidates must be a list of at most 2000"),
        (lambda d: d.update(candidates=[1]), r"candidates\[0\] must hold backend"),
        (lambda d: d["candidates"][1].update(top1=float("nan")), r"\[1\].top1 must be a number"),
        (lambda d: d["candidates"][1].update(alone_ms="1"), r"\[1\].alone_ms must be a number"),
    ],
)
def test_a_wrong_value_is_named_with_the_command_to_run_again(
    bundle: Path, change: Callable[[dict], object], message: str
) -> None:
    edited(bundle, change)
    with pytest.raises(BundleError, match=message) as caught:
        read_tuning(bundle)
    assert f"run `python -m converter tune {bundle}` again, or delete the file" in str(caught.value)
    assert "\x1b" not in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"choice: [", id="half-written"),
        pytest.param(b"format: 1\nformat: 1\n", id="a-key-twice"),
        pytest.param(b"\xff\xfe", id="not-utf-8"),
        pytest.param(b"- 1\n", id="a-list"),
        pytest.param(b"format: !!python/object/apply:os.system [true]\n", id="an-object"),
        pytest.param(b"#" * (MAX_BYTES + 1), id="too-large"),
        pytest.param(b"a: &a [x, x]\nb: &b [*a, *a]\n" * 1, id="aliases"),
    ],
)
def test_a_damaged_file_is_an_error_with_the_command(bundle: Path, content: bytes) -> None:
    tuning_file(bundle).write_bytes(content)
    with pytest.raises(BundleError, match=r"tuning.yml.*run `python -m converter tune"):
        read_tuning(bundle)


def test_what_is_no_file_is_an_error_and_not_waited_for(bundle: Path) -> None:
    os.mkfifo(tuning_file(bundle))
    with pytest.raises(BundleError, match="is no file"):
        read_tuning(bundle)
    tuning_file(bundle).unlink()
    tuning_file(bundle).symlink_to("nowhere")
    with pytest.raises(BundleError, match="is no file"):
        read_tuning(bundle)


def test_a_file_that_cannot_be_written_leaves_the_one_before(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tuning(bundle, TUNING)

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("bundle.tuning.os.fsync", full)
    with pytest.raises(BundleError, match=r"No space left on device; .* --apply no"):
        write_tuning(bundle, replace(TUNING, made="2027-12-01T01:20:33Z"))
    assert read_tuning(bundle) == TUNING
    assert [path.name for path in bundle.iterdir() if "tuning" in path.name] == ["tuning.yml"]


def test_the_digest_is_of_the_models_files_and_of_nothing_else(bundle: Path) -> None:
    server = bundle / "serving_server"
    (server / "onnx").mkdir(exist_ok=True)
    (server / "onnx" / "inference.onnx").write_bytes(b"onnx")
    export, onnx = model_digest(bundle, "export"), model_digest(bundle, "onnx")
    assert export != onnx
    (server / "inference.yml").write_text("edited: true\n", encoding="utf-8")
    (server / ".inference.onnx.swp").write_bytes(b"an editor's")
    assert (model_digest(bundle, "export"), model_digest(bundle, "onnx")) == (export, onnx)
    (server / "onnx" / "inference.onnx").write_bytes(b"ONNX")
    assert model_digest(bundle, "export") == export
    assert model_digest(bundle, "onnx") != onnx
    parameters = server / "inference.pdiparams"
    parameters.write_bytes(parameters.read_bytes()[::-1])
    assert model_digest(bundle, "export") != export
