"""A bundle that cannot be written: one line that says why, and nothing half-written."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.bundling.output_folder import staged
from converter.errors import ConversionError

MakeExport = Callable[..., Path]


def run(root: Path, *arguments: object, largest_file: int | None = None) -> str:
    """Run the converter, which must fail; return what it says."""

    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    # A measurement of coverage would write a file of its own, and fail.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("COVERAGE_")}
    done = subprocess.run(
        [sys.executable, "-m", "converter", "convert", "--no-onnx", *map(str, arguments)],
        cwd=root,
        env=environment if largest_file is not None else None,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=limit,
    )
    assert done.returncode == 1, done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_no_room_for_the_model(make_export: MakeExport, tmp_path: Path, root: Path) -> None:
    """The system refuses to write on, as it does on a full disk."""
    output = tmp_path / "serving_model/tiny"
    message = run(root, make_export("pir"), "--output", output, largest_file=512)
    assert str(output) in message
    assert "cannot be written (File too large)" in message
    assert list(tmp_path.glob("serving_model/*")) == []
    assert list(tmp_path.glob("serving_model/.*")) == []


def test_no_room_leaves_the_old_bundle(make_export: MakeExport, tmp_path: Path, root: Path) -> None:
    export, output = make_export("pir"), tmp_path / "tiny"
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
    subprocess.run(command, cwd=root, check=True, capture_output=True)
    before = {path: path.read_bytes() for path in output.rglob("*") if path.is_file()}
    run(root, export, "--output", output, "--force", largest_file=512)
    assert {path: path.read_bytes() for path in output.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("place", "cause"),
    [
        ("labels.txt/tiny", "cannot be written"),
        ("/proc/tiny", "cannot be written"),
        ("labels.txt", "exists and is no folder"),
    ],
)
def test_a_place_that_cannot_be_written(
    make_export: MakeExport, tmp_path: Path, root: Path, place: str, cause: str
) -> None:
    (tmp_path / "labels.txt").write_text("a\n")
    message = run(root, make_export("pir"), "--output", tmp_path / place)
    assert cause in message
    assert message.endswith(("a folder that you may write to\n", "choose another place\n"))


@pytest.mark.parametrize("which", ["export", "output", "labels", "preprocess", "model", "params"])
def test_a_path_that_the_system_refuses(
    make_export: MakeExport, tmp_path: Path, root: Path, which: str
) -> None:
    long = "x" * 400
    export, output = make_export("pir"), tmp_path / "out"
    options = {"labels": "--labels", "preprocess": "--preprocess", "model": "--model-file",
               "params": "--params-file"}  # fmt: skip
    arguments = [long if which == "export" else export]
    arguments += ["--output", output / long if which == "output" else output]
    arguments += [options[which], long] if which in options else []
    assert long[:50] in run(root, *arguments)


def test_an_output_that_is_a_loop_of_links(
    make_export: MakeExport, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    message = run(root, make_export("pir"), "--output", tmp_path / "loop" / "x")
    assert "loop" in message


def test_a_label_file_of_another_encoding(
    make_export: MakeExport, tmp_path: Path, root: Path
) -> None:
    (tmp_path / "labels.txt").write_bytes("玻璃\n塑膠瓶\n廚餘\n".encode("big5"))
    message = run(
        root, make_export("pir"), "--output", tmp_path / "out", "--labels", tmp_path / "labels.txt"
    )
    assert "labels.txt looks like GBK with rare characters, or like another encoding" in message
    assert not (tmp_path / "out").exists()


def test_a_description_of_another_encoding(
    make_export: MakeExport, tmp_path: Path, root: Path
) -> None:
    export = make_export("pir")
    (export / "inference.yml").write_bytes("Global: {}\n# 标签\n".encode("gbk"))
    message = run(root, export, "--output", tmp_path / "out")
    assert "inference.yml is not YAML in UTF-8 (line 2); save it as UTF-8" in message


def test_a_full_disk_is_told_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_arguments: object, **_options: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    message = pytest.raises(ConversionError, match=r"no space left in .*; free some, or set ")
    with message, staged(tmp_path / "out"):
        pass
