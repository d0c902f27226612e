"""What a worker without Paddle loads before its first reply: counted, not timed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from pipeline.predictors.registry import RUNTIMES
from tests.python_process import answer_of

BUILD = """
import json, re, sys
import pipeline.engine.worker
from pipeline.classifier import ClassifierSettings
from pipeline.engine.building import build

settings = ClassifierSettings(sys.argv[1], backend=sys.argv[2])
build("pipeline.engine.building:build_classifier", settings.to_json())
pss = re.search(r"^Pss: +(\\d+) kB", open("/proc/self/smaps_rollup").read(), re.M)
print(json.dumps({"modules": sorted(sys.modules), "pss_mib": int(pss[1]) / 1024}))
"""
# Of the service, of commands, of converting, and of other runtimes.
UNNEEDED = {
    "PIL", "converter", "grpc", "httpx", "onnx", "openvino_telemetry", "paddle",
    "prometheus_client",
    "pydantic", "rich", "starlette", "uvicorn", "uvloop",
}  # fmt: skip


@pytest.fixture
def worker(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    root: Path,
    write_onnx: Callable[..., dict[str, np.ndarray]],
) -> dict[str, Any]:
    """The modules and the memory of a worker that is ready, with the runtime of the parameter."""
    if not RUNTIMES[request.param].installed():
        pytest.skip(f"{request.param} is not installed")
    (tmp_path / "export").mkdir()
    write_onnx(tmp_path / "export" / "net.onnx")
    (tmp_path / "ops.yml").write_text("- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n")
    (tmp_path / "export" / "labels.txt").write_text("a\nb\nc\n")
    overrides = Overrides(preprocess=str(tmp_path / "ops.yml"))
    made = convert(ConvertOptions(tmp_path / "export", tmp_path / "net", overrides))
    found: dict[str, Any] = answer_of(root, BUILD, str(made.path), request.param)
    return found


@pytest.mark.parametrize("worker", ["onnxruntime", "openvino"], indirect=True)
def test_a_worker_imports_what_predicting_needs(worker: dict[str, Any]) -> None:
    packages = {name.partition(".")[0] for name in worker["modules"]}
    assert packages & UNNEEDED == set()
    assert not any(name.startswith(("pipeline.web", "pipeline.rpc")) for name in worker["modules"])
    # 402 with ONNX Runtime and 476 with OpenVINO; another library is a hundred more
    assert len(worker["modules"]) < 560


@pytest.mark.parametrize("worker", ["onnxruntime", "openvino"], indirect=True)
def test_a_worker_takes_little_memory_beside_its_model(worker: dict[str, Any]) -> None:
    assert worker["pss_mib"] < 200  # 75 and 100, of which libraries are shared or not
