"""Models on a GPU behind the real service: its answers, its workers, its errors.

`python -m pytest -m gpu` in an environment with paddlepaddle-gpu or onnxruntime-gpu. (`make test`
installs their builds for the CPU.)
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from protocol.errors import ServingError
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.gpu

# GPUs multiply float32 in TF32, whose mantissa has ten bits.
TOLERANCE = 5e-3
LOCAL = "op.classifier.local_service_conf"


@pytest.fixture(scope="module", params=["onnx", "paddle"])
def config(
    request: pytest.FixtureRequest, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Two workers on GPU 0, with a model for ONNX Runtime or Paddle."""
    if shutil.which("nvidia-smi") is None or not _gpus():
        pytest.skip("there is no GPU here")
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "onnx":
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs onnxruntime-gpu")
        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("this ONNX Runtime is built for the CPU")
        bundle = _onnx_bundle(folder, request.getfixturevalue("write_onnx"))
    else:
        paddle = pytest.importorskip("paddle", reason="needs the extra gpu")
        if not paddle.is_compiled_with_cuda():
            pytest.skip("this Paddle is built for the CPU")
        bundle = root / "serving_model" / "waste"
    local = {"model_config": str(bundle), "devices": "0"}
    op = {"classifier": {"concurrency": 2, "timeout": 60000, "local_service_conf": local}}
    config = folder / "config.yml"
    config.write_text(yaml.safe_dump({"op": op}), encoding="utf-8")
    return config


@pytest.fixture(scope="module")
def on_cpu(start_any_service: Any, config: Path, images: list[bytes]) -> list[dict[str, float]]:
    """The scores of each image that the same model gives on the CPU."""
    with start_any_service(config, f"{LOCAL}.devices=", "op.classifier.concurrency=1") as service:
        scores = _scores(service, "http", images)
    # Or answers could change places and nobody would see it.
    for one, other in itertools.combinations(scores[:8], 2):
        assert max(abs(one[label] - other[label]) for label in one) > 2 * TOLERANCE
    return scores


@pytest.fixture(scope="module")
def service(start_any_service: Any, config: Path) -> Iterator[Any]:
    with start_any_service(config) as service:
        yield service


def test_it_runs_on_the_gpu_and_says_so(service: Any) -> None:
    assert all(map(_on_gpu, service.workers()))
    (workers,) = (line for line in service.out if line.split()[:1] == ["workers"])
    assert " on gpu:0, " in workers
    assert " on gpu, " in workers


@pytest.mark.parametrize("wire", ["http", "rpc"])
@pytest.mark.parametrize("together", [1, 3, 8, 64])
def test_scores_are_those_of_the_cpu(
    service: Any, on_cpu: list[dict[str, float]], images: list[bytes], wire: str, together: int
) -> None:
    scores = _scores(service, wire, images[:together], together)
    for ours, right in zip(scores, on_cpu[:together], strict=True):
        assert ours == pytest.approx(right, abs=TOLERANCE)


def test_a_worker_that_dies_comes_back_on_the_gpu(
    service: Any, on_cpu: list[dict[str, float]], images: list[bytes]
) -> None:
    before = service.workers()
    os.kill(before[0], signal.SIGKILL)
    deadline = time.monotonic() + PATIENCE_S
    while len(set(service.workers()) - {before[0]}) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(before[1], signal.SIGKILL)  # so that the new one answers
    assert _scores(service, "http", images[:8])[7] == pytest.approx(on_cpu[7], abs=TOLERANCE)
    assert any(map(_on_gpu, set(service.workers()) - set(before)))


def test_a_gpu_that_is_not_there(start_any_service: Any, config: Path) -> None:
    number = _gpus()
    with (
        pytest.raises(AssertionError, match=r"a GPU is requested and .*nvidia-smi"),
        start_any_service(config, f"{LOCAL}.devices={number}"),
    ):
        pass


def _on_gpu(process: int) -> bool:
    """Return whether a process has a GPU open."""
    links = Path(f"/proc/{process}/fd").iterdir()
    return any(str(link.readlink()).startswith("/dev/nvidia") for link in links)


def _gpus() -> int:
    done = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return sum(line.startswith("GPU ") for line in done.stdout.splitlines())


def _onnx_bundle(folder: Path, write_onnx: Callable[..., Any]) -> Path:
    (folder / "export").mkdir()
    write_onnx(folder / "export" / "net.onnx", convolution=True, size=64)
    (folder / "export" / "labels.txt").write_text("a\nb\nc\n", encoding="utf-8")
    ops = "- ResizeImage: {size: [64, 64]}\n- NormalizeImage: {order: ''}\n- ToCHWImage:\n"
    (folder / "ops.yml").write_text(ops, encoding="utf-8")
    overrides = Overrides(preprocess=str(folder / "ops.yml"))
    convert(ConvertOptions(folder / "export", folder / "bundle", overrides))
    return folder / "bundle"


def _scores(
    service: Any, wire: str, images: list[bytes], together: int = 8
) -> list[dict[str, float]]:
    """Return the scores of all labels of each image."""
    client = (
        HttpClient(service.url, service="classifier", timeout_s=PATIENCE_S)
        if wire == "http"
        else RpcClient(service.endpoint, service="classifier", timeout_s=PATIENCE_S)
    )
    results = []
    with client:
        for at in range(0, len(images), together):
            request = ClassifyRequest(encoded(images[at : at + together], 100), "classifier")
            results += client.send(request).results
    assert not [result for result in results if isinstance(result, ServingError)]
    return [{best.label: best.score for best in result} for result in results]
