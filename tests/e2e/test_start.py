"""What is wrong before a service can start is cause in one line, and ends it."""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pipeline.check import _class_of
from pipeline.web_service import main
from protocol.reply import Category
from tests.patience import PATIENCE_S


@pytest.fixture
def bundle(root: Path, tmp_path: Path) -> Path:
    """A copy of the embedded bundle, to be damaged."""
    copy = tmp_path / "waste"
    shutil.copytree(root / "serving_model" / "waste", copy)
    return copy


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def check(in_process: Run, bundle: Path) -> Run:
    """A function: overrides -> what `--check` of the bundle says."""

    def run(*overrides: str) -> subprocess.CompletedProcess[str]:
        return in_process(main, *arguments_of(bundle, *overrides))

    return run


def arguments_of(bundle: Path, *overrides: str) -> list[str]:
    model = f"op.waste.local_service_conf.model_config={bundle}"
    every = ("http_port=0", "rpc_port=0", model, *overrides)
    return ["--check", *(f"-o{override}" for override in every)]


def assert_reported(done: subprocess.CompletedProcess[str], cause: str) -> None:
    assert done.returncode == 1, done.stdout + done.stderr
    errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, done.stderr
    assert cause in errors[0]
    assert "Traceback" not in done.stderr


@pytest.fixture(autouse=True)
def _needs_paddle() -> None:
    pytest.importorskip("paddle", reason="the service needs the extra cpu or gpu")


def test_a_sound_bundle_passes_the_check(root: Path, bundle: Path) -> None:
    """The command as its user types it; the others run in the process of the tests."""
    done = subprocess.run(
        [sys.executable, "pipeline/web_service.py", *arguments_of(bundle)],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "can be served" in done.stdout
    assert "one prediction of a grey image took" in done.stdout
    assert re.search(r"\(class [0-5], label .+, score 0\.\d{3}\)$", done.stdout, re.MULTILINE)


def test_the_check_names_the_class_of_the_configuration_and_that_of_the_image(check: Run) -> None:
    done = check("op.waste.classifier=pipeline.classifier:ClasOp")
    assert done.returncode == 0, done.stderr
    assert re.search(r"^ +class +pipeline\.classifier:ClasOp$", done.stdout, re.MULTILINE)
    assert _class_of(Category(3, "3", 0.5)) == "class 3"
    assert _class_of(Category(3, "glass", 0.5)) == "class 3, label glass"


def test_a_classifier_that_is_no_class_is_an_error_of_one_line(check: Run) -> None:
    assert_reported(check("op.waste.classifier=os:path"), "the classifier 'os:path' is a module")


def test_truncated_parameters(check: Run, bundle: Path) -> None:
    params = bundle / "serving_server" / "inference.pdiparams"
    params.write_bytes(params.read_bytes()[:-1000])
    assert_reported(check(), "inference.pdiparams")


@pytest.mark.parametrize(("lines", "cause"), [(5, "too few"), (7, "too many")])
def test_labels_that_do_not_fit_the_model(
    check: Run, tmp_path: Path, lines: int, cause: str
) -> None:
    labels = tmp_path / "labels.txt"
    labels.write_text("".join(f"label {i}\n" for i in range(lines)), encoding="utf-8")
    done = check(f"op.waste.labels={labels}")
    assert_reported(done, f"{lines} labels, {cause} for the model's 6 classes")


def test_a_typo_in_the_configuration(check: Run) -> None:
    assert_reported(check("op.waste.concurrancy=2"), "did you mean op.waste.concurrency?")


@pytest.mark.parametrize("key", ["http_port", "rpc_port"])
@pytest.mark.parametrize("mode", [["--check"], []])
def test_a_port_in_use(in_process: Run, key: str, mode: list[str]) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:
        port = taken.getsockname()[1]
        other = "rpc_port" if key == "http_port" else "http_port"
        done = in_process(main, *mode, "-o", f"{key}={port}", "-o", f"{other}=0")
    assert_reported(done, f"port {port} ({key}) on 0.0.0.0 is in use")


def test_a_wrong_option_is_a_wrong_call(in_process: Run) -> None:
    done = in_process(main, "--chekc")
    assert done.returncode == 2
    assert "usage:" in done.stderr
