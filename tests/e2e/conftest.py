"""The real service, started as its user starts it, on ephemeral ports."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import yaml

from converter.__main__ import main as convert
from tests.patience import PATIENCE_S


class Service:
    """A running `python pipeline/web_service.py`; its ports are read from its start-up block."""

    def __init__(self, root: Path, arguments: list[str], environment: dict[str, str]) -> None:
        command = [sys.executable, "pipeline/web_service.py", *arguments]
        self.process = subprocess.Popen(
            command,
            cwd=root,
            env={**os.environ, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        self._readers = self.read_output()

    def read_output(self) -> list[threading.Thread]:
        """Collect the lines of stdout and stderr in threads; return these."""
        readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in readers:
            reader.start()
        return readers

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not any(line.startswith("  health") for line in self.out):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the service did not start:\n{''.join(self.err)}")
            time.sleep(0.02)

    @property
    def http_port(self) -> int:
        return int(self._find(r"POST https?://127\.0\.0\.1:(\d+)/"))

    @property
    def rpc_port(self) -> int:
        return int(self._find(r"  rpc +127\.0\.0\.1:(\d+)"))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.http_port}"

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.rpc_port}"

    @property
    def admin(self) -> str:
        return self._find(r"  admin +(http://127\.0\.0\.1:\d+) ")

    def workers(self) -> list[int]:
        """Return the process numbers of the workers."""
        listed = subprocess.run(
            ["ps", "-o", "pid=,args=", "--ppid", str(self.process.pid)],
            capture_output=True,
            text=True,
            check=False,
        )
        return [int(line.split()[0]) for line in listed.stdout.splitlines() if "worker" in line]

    def stop(self) -> int:
        """Send SIGTERM; return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join()
        for stream in (self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()

    def _find(self, pattern: str) -> str:
        found = re.search(pattern, "".join(self.out))
        assert found, "".join(self.out)
        return found[1]

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        for line in stream:
            lines.append(line)


Start = Callable[..., Any]


def _start_service(root: Path) -> Start:
    @contextmanager
    def start(config: Path, *overrides: str, environment: dict[str, str] | None = None) -> Iterator:
        arguments = ["--config", str(config)]
        for override in ("http_port=0", "rpc_port=0", "host=127.0.0.1", *overrides):
            arguments += ["-o", override]
        service = Service(root, arguments, environment or {})
        try:
            service.wait_until_ready()
            yield service
        finally:
            service.close()

    return start


@pytest.fixture(scope="session")
def start_service(root: Path) -> Start:
    """A function: configuration and overrides -> context manager of a running service."""
    pytest.importorskip("paddle", reason="the service needs the extra cpu or gpu")
    return _start_service(root)


@pytest.fixture(scope="session")
def start_any_service(root: Path) -> Start:
    """The same where there may be no Paddle: for models of ONNX."""
    return _start_service(root)


# The operators of PaddleClas' recipes.
OPERATORS = """
- ResizeImage: {resize_short: 256}
- CropImage: {size: 8}
- NormalizeImage: {order: ''}
- ToCHWImage:
"""


@pytest.fixture(scope="session")
def tiny_model(
    write_onnx: Callable[..., dict[str, np.ndarray]], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A bundle of three classes that is loaded and run in milliseconds, by ONNX Runtime."""
    folder = tmp_path_factory.mktemp("tiny")
    export = folder / "export"
    export.mkdir()
    write_onnx(export / "net.onnx")
    (export / "labels.txt").write_text("red\ngreen\nblue\n", encoding="utf-8")
    (export / "operators.yml").write_text(OPERATORS, encoding="utf-8")
    options = [
        "--preprocess",
        str(export / "operators.yml"),
        "--labels",
        str(export / "labels.txt"),
    ]
    assert convert(["convert", str(export), "--output", str(folder / "model"), *options]) == 0
    return folder / "model"


@pytest.fixture(scope="session")
def tiny_config(tiny_model: Path) -> Path:
    """A configuration for tests to which the model does not matter.

    Its service has the name that clients take by themselves.
    """
    config = tiny_model.parent / "config.yml"
    op = {"timeout": 60_000, "local_service_conf": {"model_config": str(tiny_model)}}
    tree = {"http_port": 0, "rpc_port": 0, "op": {"waste": op}}
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return config


@pytest.fixture(scope="session")
def tiny(start_any_service: Start, tiny_config: Path) -> Iterator[Service]:
    """The tiny model with two workers, shared by the tests that leave it as it is."""
    with start_any_service(tiny_config, "op.waste.concurrency=2") as service:
        yield service


@pytest.fixture(scope="session")
def waste(start_service: Start, root: Path) -> Iterator[Service]:
    """The embedded model with two workers, shared by the tests that leave it as it is."""
    options = ("op.waste.concurrency=2", "op.waste.timeout=60000")  # a busy machine's time
    with start_service(root / "configs" / "waste.yml", *options) as service:
        yield service


@pytest.fixture(scope="session")
def images() -> list[bytes]:
    """Sixty-four JPEGs of large coloured shapes, no two alike."""
    rng = np.random.default_rng(7)
    drawn = []
    for _ in range(64):
        image = np.full((240, 320, 3), rng.integers(120, 255, 3), np.uint8)
        for _ in range(6):
            centre = tuple(int(v) for v in rng.integers(0, 240, 2))
            colour = tuple(int(v) for v in rng.integers(0, 255, 3))
            cv2.circle(image, centre, int(rng.integers(10, 90)), colour, -1)
        drawn.append(cv2.imencode(".jpg", image)[1].tobytes())
    return drawn
