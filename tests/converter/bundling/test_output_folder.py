"""The output folder, whole or as it was, whatever interrupts its making."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from converter.__main__ import main
from converter.bundling.output_folder import staged
from converter.errors import ConversionError

MakeExport = Callable[..., Path]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """What a conversion wrote before, and a file of the user's."""
    output = tmp_path / "bundle"
    (output / "serving_server").mkdir(parents=True)
    (output / "bundle.yml").write_text("old")
    (output / "README").write_text("mine")
    return output


def replace(output: Path) -> None:
    with staged(output) as staging:
        (staging / "bundle.yml").write_text("new")


def fail_to_rename(
    monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], error: BaseException
) -> None:
    """Let `error` come of it when a folder of these names is renamed."""
    rename = Path.rename

    def renaming(path: Path, target: Path) -> Path:
        if path.name in names:
            raise error
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", renaming)


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(28, "No space left on device"), ConversionError),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
    ids=["disk", "interrupt"],
)
def test_the_bundle_that_was_is_put_back(
    bundle: Path, error: BaseException, raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_to_rename(monkeypatch, ("new",), error)
    with pytest.raises(raised):
        replace(bundle)
    assert (bundle / "bundle.yml").read_text() == "old"
    assert (bundle / "README").read_text() == "mine"
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_bundle_that_cannot_be_put_back_is_not_removed(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_to_rename(monkeypatch, ("new", "old"), OSError(5, "Input/output error"))
    with pytest.raises(ConversionError, match="cannot be written"):
        replace(bundle)
    (kept,) = bundle.parent.glob(".bundle-*/old")
    assert (kept / "bundle.yml").read_text() == "old"
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"warning: {kept}: is the bundle that was {bundle} and could not be put back; move it there"
    )


def test_what_cannot_be_removed_is_told(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # a read-only folder stops everyone but root, who may run this test
    monkeypatch.setattr(shutil, "rmtree", lambda *_args, **_options: None)
    replace(bundle)
    assert (bundle / "bundle.yml").read_text() == "new"
    (left,) = bundle.parent.glob(".bundle-*")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"warning: {left}: what was replaced could not be removed; remove it")


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)], ids=["SIGTERM", "SIGINT"]
)
def test_a_signal_leaves_nothing_half_written(
    make_export: MakeExport,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_arguments: object) -> None:
        assert list((tmp_path / "out").glob(".bundle-*/new/serving_server/*"))
        os.kill(os.getpid(), number)

    export = make_export("pir")
    monkeypatch.setattr("converter.bundling.convert.write_record", interrupted)
    # the action that a process has; without the mend it would end this one
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        assert (
            main(["convert", str(export), "--no-onnx", "--output", str(tmp_path / "out/bundle")])
            == code
        )
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGTERM, before)
    assert list((tmp_path / "out").iterdir()) == []
    text = f"error: interrupted by {number.name}; give the command again\n"
    assert capsys.readouterr().err == text
