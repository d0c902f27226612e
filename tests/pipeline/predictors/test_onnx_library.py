"""ONNX Runtime is loaded without its telemetry, in every process of this kit that loads it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S

pytest.importorskip("onnxruntime", reason="needs the extra onnx")

LOAD = """
import os, sys
from pipeline.predictors.onnx_library import load_onnxruntime
print(load_onnxruntime().__version__, os.environ["ORT_DISABLE_TELEMETRY"])
"""


def loaded(root: Path, home: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(home), "XDG_CACHE_HOME": str(home / "cache"), **variables}
    command = [sys.executable, "-c", LOAD]
    done = subprocess.run(
        command, cwd=root, env=environment, check=True, capture_output=True, timeout=PATIENCE_S
    )
    return done.stdout.decode().split()[1]


def test_loading_it_writes_no_telemetry(root: Path, tmp_path: Path) -> None:
    assert loaded(root, tmp_path) == "1"
    assert not list(tmp_path.iterdir())


def test_telemetry_that_the_user_set_is_kept(root: Path, tmp_path: Path) -> None:
    assert loaded(root, tmp_path, ORT_DISABLE_TELEMETRY="0") == "0"


def test_nothing_else_of_this_kit_imports_it(root: Path) -> None:
    importing = {
        str(path.relative_to(root))
        for room in ("bundle", "converter", "pipeline", "tools", "benchmarks", "examples")
        for path in (root / room).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if "onnxruntime" in _modules(node)
    }
    assert importing == {"pipeline/predictors/onnx_library.py"}


def _modules(node: ast.AST) -> set[str]:
    names: list[str] = []
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or ""]
    return {name.partition(".")[0] for name in names}
