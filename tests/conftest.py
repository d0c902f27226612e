"""Fixtures that every room's tests share."""

from __future__ import annotations

import logging
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# `examples` and `benchmarks` are no installed packages; they are found from the root.
sys.path.append(str(ROOT))


# These fixtures stand for another framework in an environment of its own.
SLOW_FIXTURES = {"paddle_serving_python", "lite_python", "paddleclas"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs another framework as slow."""
    for item in items:
        if SLOW_FIXTURES & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.slow)


# The tests' own clients of services on this machine; tests of ours without this clear it.
for _name in ("no_proxy", "NO_PROXY"):
    os.environ[_name] = ",".join(filter(None, (os.environ.get(_name), "127.0.0.1,localhost,::1")))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Models and images made by others; never part of the repository."""
    folder = Path(os.environ.get("PADDLE_SERVING_KIT_SHARED", ROOT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(
            f"no third-party samples at {folder}; PADDLE_SERVING_KIT_SHARED names their folder"
        )
    return folder


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_reaches_children() -> None:
    """A shell's background job ignores SIGINT, and so would each process that a test interrupts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture
def in_process(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    """A function: a command's `main` and its arguments -> exit code, stdout and stderr.

    For what a command says and how it ends. It saves the start of a Python and its imports; a few
    tests of each command run the process that its users start.
    """
    monkeypatch.setenv("COLUMNS", "80")
    logger = logging.getLogger()
    before = (logger.handlers[:], logger.level, logging.getLogger("uvicorn").level)

    def run(
        main: Callable[[list[str]], int], *arguments: object
    ) -> subprocess.CompletedProcess[str]:
        capfd.readouterr()
        try:
            code = main([*map(str, arguments)])
        except SystemExit as stop:  # argparse
            code = int(stop.code or 0)
        out, err = capfd.readouterr()
        return subprocess.CompletedProcess([*map(str, arguments)], code, out, err)

    yield run
    logger.handlers[:] = before[0]
    logger.setLevel(before[1])
    logging.getLogger("uvicorn").setLevel(before[2])


@pytest.fixture
def free_port() -> int:
    """A port that no process listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def write_onnx() -> Callable[..., dict[str, np.ndarray]]:
    """Write an ONNX classifier of three classes: mean of each channel, fully connected, `last`.

    With `convolution` there is one before the mean, of three by three pixels.

    Returns its weights, so that a test can compute the scores itself.
    """
    onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
    pytest.importorskip("onnxruntime", reason="needs the extra onnx")

    def write(
        path: Path,
        *,
        last: str | None = "Softmax",
        batch: int | str = "N",
        size: int = 8,
        pixels: bool = False,
        feed_type: str = "FLOAT",
        domain: str = "",
        opset: int = 17,
        external: bool = False,
        class_ids: bool = False,
        convolution: bool = False,
        channels: int = 3,
    ) -> dict[str, np.ndarray]:
        helper, types = onnx.helper, onnx.TensorProto
        random = np.random.default_rng(5)
        weights = {
            "fc.w": random.normal(size=(channels, 3)).astype(np.float32),
            "fc.b": random.normal(size=3).astype(np.float32),
        }
        shape = [batch, size, size, channels] if pixels else [batch, channels, size, size]
        cast = feed_type != "FLOAT"
        nodes = [helper.make_node("Cast", ["x"], ["floats"], to=types.FLOAT)] if cast else []
        axes = [1, 2] if pixels else [2, 3]
        source = "floats" if cast else "x"
        if convolution:
            weights["conv.w"] = random.normal(size=(3, 3, 3, 3)).astype(np.float32)
            weights["fc.w"] *= 0.5  # or all images were sure to be of the same class
            nodes += [
                helper.make_node("Conv", [source, "conv.w"], ["edges"]),
                helper.make_node("Relu", ["edges"], ["floats"]),
            ]
            source = "floats"
        nodes += [
            helper.make_node("ReduceMean", [source], ["means"], axes=axes, keepdims=0),
            helper.make_node("Gemm", ["means", "fc.w", "fc.b"], ["fc"]),
            helper.make_node(last or "Identity", ["fc"], ["scores"], domain=domain),
        ]
        outputs = [helper.make_tensor_value_info("scores", types.FLOAT, [batch, 3])]
        if class_ids:
            nodes.append(helper.make_node("ArgMax", ["scores"], ["class_id"], axis=1, keepdims=0))
            outputs.insert(0, helper.make_tensor_value_info("class_id", types.INT64, [batch]))
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("x", getattr(types, feed_type), shape)],
            outputs,
            [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        if domain:
            opsets.append(helper.make_opsetid(domain, 1))
        model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
        onnx.save_model(
            model,
            str(path),
            save_as_external_data=external,
            location=f"{path.name}.data" if external else None,
            size_threshold=0,
        )
        return weights

    return write
