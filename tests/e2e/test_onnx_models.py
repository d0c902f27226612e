"""ONNX models behind the real service: probabilities of logits, several labels, both wires."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from client.http_client import HttpClient
from client.rpc_client import RpcClient
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from tests.patience import PATIENCE_S

LABELS = ("可回收物/纸板", "red, more or less", "c")
COLORS = [(255, 0, 0), (10, 240, 30), (255, 255, 255), (0, 0, 0)]


@pytest.fixture(scope="module")
def weights() -> dict[str, dict[str, np.ndarray]]:
    return {}


@pytest.fixture(scope="module")
def service(
    start_service: Any,
    write_onnx: Callable[..., dict[str, np.ndarray]],
    weights: dict[str, dict[str, np.ndarray]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("onnx")
    ops = folder / "ops.yml"
    ops.write_text(
        "- ResizeImage: {size: [8, 8]}\n- NormalizeImage: {order: ''}\n- ToCHWImage:\n", "utf-8"
    )
    overrides = {
        "logits": Overrides(preprocess=str(ops), softmax=True),
        "several": Overrides(preprocess=str(ops), threshold=0.3),
    }
    for name, last in (("logits", None), ("several", "Sigmoid")):
        export = folder / "exports" / name
        export.mkdir(parents=True)
        weights[name] = write_onnx(export / "net.onnx", last=last, external=name == "several")
        (export / "labels.txt").write_text("\n".join(LABELS), encoding="gbk")
        convert(ConvertOptions(export, folder / name, overrides[name]))
    op = {
        name: {"concurrency": 1, "local_service_conf": {"model_config": str(folder / name)}}
        for name in overrides
    }
    config = folder / "config.yml"
    config.write_text(yaml.safe_dump({"http_port": 0, "op": op}), encoding="utf-8")
    with start_service(config) as service:
        assert any("ONNX Runtime" in line for line in service.out)
        yield service


def image(color: tuple[int, int, int]) -> bytes:
    return cv2.imencode(".png", np.full((20, 30, 3), color[::-1], np.uint8))[1].tobytes()


def expected(
    weights: dict[str, np.ndarray], color: tuple[int, int, int], *, softmax: bool
) -> dict[str, float]:
    means = (np.array(color) / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    powers = np.exp(means @ weights["fc.w"] + weights["fc.b"])
    scores = powers / powers.sum() if softmax else powers / (1 + powers)
    return dict(zip(LABELS, scores.tolist(), strict=True))


def client(service: Any, wire: str, name: str) -> HttpClient | RpcClient:
    if wire == "http":
        return HttpClient(service.url, service=name, timeout_s=PATIENCE_S)
    return RpcClient(service.endpoint, service=name, timeout_s=PATIENCE_S)


@pytest.mark.parametrize("wire", ["http", "rpc"])
def test_probabilities_of_logits(
    service: Any, weights: dict[str, dict[str, np.ndarray]], wire: str
) -> None:
    with client(service, wire, "logits") as asked:
        for color in COLORS:
            answer = asked.classify(image(color), topk=3)
            scores = {category.label: category.score for category in answer}
            assert scores == pytest.approx(
                expected(weights["logits"], color, softmax=True), abs=1e-5
            )


@pytest.mark.parametrize("wire", ["http", "rpc"])
@pytest.mark.parametrize("threshold", [None, 0.0, 0.7])
def test_several_labels_an_image(
    service: Any, weights: dict[str, dict[str, np.ndarray]], wire: str, threshold: float | None
) -> None:
    """The bundle's threshold, unless the caller gives one."""
    least = 0.3 if threshold is None else threshold
    with client(service, wire, "several") as asked:
        for color in COLORS:
            answer = asked.classify(image(color), threshold=threshold)
            scores = {category.label: category.score for category in answer}
            every = expected(weights["several"], color, softmax=False)
            wanted = {label: score for label, score in every.items() if score >= least}
            assert scores == pytest.approx(wanted, abs=1e-5)


def test_the_command_shows_them(service: Any, root: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    (tmp_path / "a.png").write_bytes(image(COLORS[2]))
    done = subprocess.run(
        [sys.executable, "client/http_client.py", str(tmp_path / "a.png"),
         "--url", service.url, "--service", "several", "--threshold", "0"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert all(label in done.stdout for label in LABELS), done.stdout
