"""What is wrong before a service can start is told in one line, and ends it."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    """A copy of the embedded bundle, to be damaged."""
    copy = tmp_path / "waste"
    shutil.copytree(root / "serving_model" / "waste", copy)
    return copy


def run(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "pipeline/web_service.py", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def check(root: Path, bundle: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    arguments = ["--check"]
    model = f"op.waste.local_service_conf.model_config={bundle}"
    for override in ("http_port=0", "rpc_port=0", model, *overrides):
        arguments += ["-o", override]
    return run(root, *arguments)


def assert_told(done: subprocess.CompletedProcess[str], told: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert told in errors[0]
    assert "Traceback" not in done.stderr


@pytest.fixture(autouse=True)
def _needs_paddle() -> None:
    pytest.importorskip("paddle", reason="the service needs the extra cpu or gpu")


def test_a_sound_bundle_passes_the_check(root: Path, bundle: Path) -> None:
    done = check(root, bundle)
    assert done.returncode == 0, done.stderr
    assert "can be served" in done.stdout
    assert "one prediction of a grey picture took" in done.stdout


def test_missing_parameters(root: Path, bundle: Path) -> None:
    (bundle / "serving_server" / "inference.pdiparams").unlink()
    assert_told(check(root, bundle), "inference.pdiparams is missing")


def test_truncated_parameters(root: Path, bundle: Path) -> None:
    params = bundle / "serving_server" / "inference.pdiparams"
    params.write_bytes(params.read_bytes()[:-1000])
    assert_told(check(root, bundle), "inference.pdiparams")


def test_parameters_of_another_model(root: Path, bundle: Path, shared: Path) -> None:
    other = shared / "models" / "PP-LCNet_x1_0_doc_ori" / "inference.pdiparams"
    shutil.copy(other, bundle / "serving_server" / "inference.pdiparams")
    assert_told(check(root, bundle), "inference.")


@pytest.mark.parametrize(("lines", "told"), [(5, "too few"), (7, "too many")])
def test_labels_that_do_not_fit_the_model(
    root: Path, bundle: Path, tmp_path: Path, lines: int, told: str
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"label {i}\n" for i in range(lines)), encoding="utf-8")
    done = check(root, bundle, f"op.waste.labels={labels}")
    assert_told(done, f"{lines} labels, {told} for the model's 6 classes")


def test_a_typo_in_the_configuration(root: Path, bundle: Path) -> None:
    assert_told(check(root, bundle, "op.waste.concurrancy=2"), "did you mean op.waste.concurrency?")


@pytest.mark.parametrize("key", ["http_port", "rpc_port"])
@pytest.mark.parametrize("mode", [["--check"], []])
def test_a_port_in_use(root: Path, key: str, mode: list[str]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        other = "rpc_port" if key == "http_port" else "http_port"
        done = run(root, *mode, "-o", f"{key}={port}", "-o", f"{other}=0")
    assert_told(done, f"port {port} ({key}) on 0.0.0.0 is in use")


def test_a_wrong_option_is_a_wrong_call(root: Path) -> None:
    done = run(root, "--chekc")
    assert done.returncode == 2
    assert "usage:" in done.stderr
