"""The rows of the registry, and what they decide without a model."""

from __future__ import annotations

import configparser
import dataclasses
import importlib.util
import sys
from pathlib import Path

import pytest

from bundle import Bundle, load_bundle
from bundle.formats import FORMATS, ONNX
from pipeline.predictors import PredictorError, PredictorOptions, create_predictor, registry
from pipeline.predictors.registry import RUNTIMES, Runtime, choose
from tests.python_process import answer_of


@pytest.fixture
def bundle(root: Path) -> Bundle:
    return load_bundle(root / "serving_model/waste")


def of(bundle: Bundle, graph_format: str) -> Bundle:
    graph = dataclasses.replace(bundle.graph, graph_format=FORMATS[graph_format])
    return dataclasses.replace(bundle.of_form("export"), graph=graph, made={})


@pytest.mark.parametrize("runtime", RUNTIMES.values(), ids=lambda row: row.name)
def test_a_row_names_what_is_there(runtime: Runtime, root: Path) -> None:
    module, _, name = runtime.predictor.partition(":")
    source = (root / "pipeline" / "predictors" / f"{module}.py").read_text(encoding="utf-8")
    assert f"class {name}(" in source
    setup = configparser.ConfigParser()
    setup.read(root / "setup.cfg")
    assert set(runtime.extras.values()) <= set(setup["options.extras_require"])
    assert "cpu" in runtime.devices


def test_the_registry_imports_no_runtime(root: Path) -> None:
    code = "import json, sys, pipeline.predictors; print(json.dumps({'names': [*sys.modules]}))"
    names = answer_of(root, code)["names"]
    assert not {runtime.package for runtime in RUNTIMES.values()} & set(names)


def test_every_format_has_a_runtime(bundle: Bundle) -> None:
    for name in FORMATS:
        assert choose(of(bundle, name)).runtime.name in RUNTIMES


def test_auto_takes_the_first_row_that_reads_the_graph_and_is_installed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = RUNTIMES["onnxruntime"]
    rows = {
        "absent": dataclasses.replace(row, name="absent", package="nowhere_to_be_found"),
        "onnxruntime": row,
        "json": dataclasses.replace(row, name="json", package="json"),
    }
    monkeypatch.setattr(registry, "RUNTIMES", rows)
    installed = importlib.util.find_spec("onnxruntime") is not None
    assert choose(of(bundle, "onnx")).runtime.name == ("onnxruntime" if installed else "json")
    monkeypatch.setattr(registry, "RUNTIMES", {"absent": rows["absent"]})
    assert choose(of(bundle, "onnx")).runtime.name == "absent"  # whose error says how to install it


def test_auto_passes_over_a_runtime_that_does_not_run_on_the_device(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = dataclasses.replace(RUNTIMES["onnxruntime"], package="json")  # which is installed
    rows = {
        "cpu-only": dataclasses.replace(row, name="cpu-only", extras={"cpu": "onnx"}),
        "both": dataclasses.replace(row, name="both"),
    }
    monkeypatch.setattr(registry, "RUNTIMES", rows)
    on_gpu = PredictorOptions(device="gpu")
    assert choose(of(bundle, "onnx")).runtime.name == "cpu-only"
    assert choose(of(bundle, "onnx"), options=on_gpu).runtime.name == "both"


@pytest.mark.parametrize(("device", "extra"), [("cpu", "onnx"), ("gpu", "onnx-gpu")])
def test_a_missing_package_names_the_extra(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, device: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert not RUNTIMES["onnxruntime"].installed()
    message = rf"ONNX Runtime cannot be imported \(.*\).*pip install -e '\.\[{extra}\]'"
    options = PredictorOptions(device=device)
    with pytest.raises(PredictorError, match=message):
        create_predictor(of(bundle, ONNX.name), "onnxruntime", options)


def test_an_unknown_backend_is_named_with_those_that_are_known(bundle: Bundle) -> None:
    with pytest.raises(PredictorError, match="'magic'; known: auto, onnxruntime, paddle, openvino"):
        create_predictor(bundle, "magic")
