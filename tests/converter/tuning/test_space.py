"""Which runtimes are candidates, and what the others need."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from bundle import load_bundle
from converter.tuning.space import left_out
from pipeline.predictors import registry


def test_a_runtime_without_its_graph_or_its_package_says_what_it_needs(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = load_bundle(root / "serving_model/waste")
    only_export = dataclasses.replace(bundle, made={})
    rows = {
        name: dataclasses.replace(registry.RUNTIMES[name], package="no_such_package")
        for name in ("paddle", "onnxruntime")
    }
    monkeypatch.setattr(registry, "RUNTIMES", rows)
    monkeypatch.setattr("converter.tuning.space.RUNTIMES", rows)

    paddle, onnx = left_out(only_export)

    assert paddle == "Paddle: not installed; pip install -e '.[cpu]' has it"
    assert f"`python -m converter add-onnx {bundle.path}` adds the ONNX" in onnx
