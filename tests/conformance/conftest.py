"""The official Paddle Serving 0.9 in an environment of its own, and models for both sides."""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from converter.__main__ import main as convert
from tests.conformance.frameworks import Frameworks

# The same fixture as of tests/e2e: `python pipeline/web_service.py` on ephemeral ports.
from tests.e2e.conftest import start_service  # noqa: F401
from tests.patience import PATIENCE_S

PPOCR, SHUFFLENET = "ch_ppocr_mobile_v2_cls_infer", "imagenet_shufflenetv2_fluid_sep"
ALIASES = ("--feed-alias", "image", "--fetch-alias", "score")
NORMALIZE = """
- NormalizeImage: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], order: '', scale: 1.0/255.0}
- ToCHWImage:
"""

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def published(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """A function: package, version, folder in it -> that folder, from the wheel on the index.

    Wheels are kept in `build/wheels`, without their dependencies: only files that stand alone are
    loaded from them.
    """

    def unpack(package: str, version: str, inside: str) -> Path:
        folder = root / "build" / "wheels"
        pattern = f"{package}-{version}-*.whl"
        if not list(folder.glob(pattern)):
            command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
            done = subprocess.run(
                [*command, "--dest", str(folder), f"{package}=={version}"],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode != 0:
                pytest.skip(f"the wheel of {package} {version} is not here, nor to be downloaded")
        unpacked = tmp_path_factory.mktemp(package)
        with zipfile.ZipFile(next(folder.glob(pattern))) as wheel:
            for name in wheel.namelist():
                if name.startswith(inside):
                    wheel.extract(name, unpacked)
        return unpacked / inside

    return unpack


@pytest.fixture(scope="session")
def paddleclas_source(root: Path) -> Path:
    """A checkout of PaddleClas."""
    folder = Path(os.environ.get("PADDLECLAS_SOURCE", root / "build/paddleclas-source"))
    if not (folder / "ppcls/configs").is_dir():
        pytest.skip(
            f"no PaddleClas at {folder}: run `make paddleclas-source`, or name its folder in"
            " PADDLECLAS_SOURCE"
        )
    return folder


@pytest.fixture(scope="session")
def paddle_serving_python(root: Path) -> Path:
    """The interpreter of an environment that holds the official packages."""
    given = os.environ.get("PADDLE_SERVING_PYTHON")
    python = Path(given) if given else root / "build" / "paddle-serving-env" / "bin" / "python"
    if not python.is_file():
        pytest.skip(
            f"no official Paddle Serving 0.9 at {python}: run `make paddle-serving-env`, "
            "or name its interpreter in PADDLE_SERVING_PYTHON"
        )
    return python


@pytest.fixture
def frameworks(root: Path, tmp_path: Path) -> Frameworks:
    """torchvision, timm, transformers, Ultralytics and Keras, in an environment of their own."""
    given = os.environ.get("PADDLE_SERVING_KIT_FRAMEWORKS_PYTHON")
    python = Path(given) if given else root / "build" / "frameworks-env" / "bin" / "python"
    if not python.is_file():
        pytest.skip(
            f"no frameworks at {python}: run `make frameworks-env`, or name its interpreter in"
            " PADDLE_SERVING_KIT_FRAMEWORKS_PYTHON"
        )
    return Frameworks(python, tmp_path)


@pytest.fixture(scope="session")
def official(
    paddle_serving_python: Path, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Ask:
    """A function: command of official_side.py and what it takes -> its answer."""

    def ask(command: str, **order: Any) -> dict[str, Any]:
        # Importing 0.9 makes a folder of logs where it runs, and its errors kill the whole group.
        done = subprocess.run(
            [str(paddle_serving_python), str(root / "tests/conformance/official_side.py"), command],
            input=json.dumps(order),
            cwd=tmp_path_factory.mktemp("official"),
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return answer

    return ask


RECORDED = Path(__file__).resolve().parent / "recorded" / "paddle_serving_0.9.json"


@pytest.fixture(scope="session")
def recorded() -> dict[str, Any]:
    """Answers of the official 0.9, which is frozen; test_recorded.py compares and records them."""
    answers: dict[str, Any] = json.loads(RECORDED.read_text(encoding="utf-8"))
    return answers


class OfficialService:
    """A running `pipeline/hosts/paddle_serving` in the official environment."""

    def __init__(self, command: list[str], cwd: Path, environment: dict[str, str]) -> None:
        self.log = cwd / "stderr.log"
        with self.log.open("w", encoding="utf-8") as stderr:
            self.process = subprocess.Popen(
                command,
                cwd=cwd,
                env={**os.environ, "SERVING_LOG_PATH": str(cwd), **environment},
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                # Its children are found again as its group.
                start_new_session=True,
            )
        self.out: list[str] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def err(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")

    def wait_until_ready(self) -> None:
        assert self._ready.wait(PATIENCE_S), self.err[-3000:]
        assert any(line.startswith("ready on") for line in self.out), self.err[-3000:]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)

    def close(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.out.append(line)
            if line.startswith("ready on"):
                self._ready.set()
        self._ready.set()  # it ended: no line will come any more


@pytest.fixture(scope="session")
def start_official(
    paddle_serving_python: Path, root: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Any]:
    """A function: configuration -> context manager of our ops in the official server."""

    @contextmanager
    def start(config: Path, *, as_module: bool = False, ready: bool = True) -> Iterator[Any]:
        script = ["-m", "pipeline.hosts.paddle_serving"]
        if not as_module:
            script = [str(root / "pipeline" / "hosts" / "paddle_serving")]
        service = OfficialService(
            [str(paddle_serving_python), *script, "--config", str(config)],
            tmp_path_factory.mktemp("official"),
            {"PYTHONPATH": str(root)} if as_module else {},
        )
        try:
            if ready:
                service.wait_until_ready()
            yield service
        finally:
            service.close()

    return start


@pytest.fixture(scope="session")
def bundles(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles that our command converts: a `.pdmodel`, and a `__model__` with separate parameters.

    `anysize` is the first one with aliases that are not the names, and images as large as sent.
    """
    folder = tmp_path_factory.mktemp("bundles")
    (folder / "anysize.yml").write_text(NORMALIZE, encoding="utf-8")
    (folder / "ppocr.txt").write_text("0, upright\n180, turned\n", encoding="utf-8")
    models = shared / "models"
    synset = models / "synset_words.txt"
    for name, export, preprocess, labels, *options in (
        ("ppocr", PPOCR, "paddleocr-cls", folder / "ppocr.txt"),
        ("imagenet", SHUFFLENET, "imagenet-224", synset),
        ("anysize", PPOCR, folder / "anysize.yml", folder / "ppocr.txt", *ALIASES),
    ):
        command = [
            "convert",
            str(models / export),
            "--no-onnx",
            "--output",
            str(folder / name),
            *options,
        ]
        command += ["--preprocess", str(preprocess), "--labels", str(labels)]
        assert convert(command) == 0
    return folder


@pytest.fixture(scope="session")
def config(bundles: Path) -> Path:
    """One configuration for both engines: several services, keys of 0.9 and keys of ours."""
    file = bundles / "config.yml"
    tree = {
        "host": "127.0.0.1",
        **free_ports(),
        "dag": {"is_thread_op": False, "channel_size": 100},
        "op": {
            "ppocr": {
                "concurrency": 1,
                "topk": 2,
                "local_service_conf": {"model_config": "ppocr", "backend": "paddle"},
            },
            "anysize": {"concurrency": 1, "local_service_conf": {"model_config": "anysize"}},
            "imagenet": {
                "concurrency": 1,
                "timeout": 20_000,
                "batch_size": 4,
                "auto_batching_timeout": 5,
                "local_service_conf": {
                    "client_type": "local_predictor",
                    "model_config": "imagenet/serving_server",
                    "fetch_list": ["prediction"],
                    "devices": "",
                },
            },
        },
    }
    file.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return file


@pytest.fixture(scope="session")
def single(bundles: Path, start_service: Any) -> Iterator[Any]:  # noqa: F811 - the fixture
    """One model in our engine: 0.9's RPC client names no service."""
    file = bundles / "single.yml"
    op = {"imagenet": {"concurrency": 1, "local_service_conf": {"model_config": "imagenet"}}}
    file.write_text(yaml.safe_dump({"http_port": 0, "op": op}), encoding="utf-8")
    with start_service(file) as service:
        yield service


@pytest.fixture(scope="session")
def ours(config: Path, start_service: Any) -> Iterator[Any]:  # noqa: F811 - the fixture
    """All of it in our engine."""
    with start_service(config) as service:
        yield service


@pytest.fixture(scope="session")
def theirs(config: Path, start_official: Any) -> Iterator[Any]:
    """All of it in the official server, from the same configuration."""
    tree = yaml.safe_load(config.read_text(encoding="utf-8"))
    with start_official(config) as service:
        service.url = f"http://127.0.0.1:{tree['http_port']}"
        service.endpoint = f"127.0.0.1:{tree['rpc_port']}"
        yield service


def free_ports() -> dict[str, int]:
    """Two ports that no process listens on; 0.9 cannot choose one by itself.

    Below the range that outgoing connections take theirs from: seconds pass until 0.9 listens.
    """
    free: list[int] = []
    while len(free) < 2:
        port = random.randrange(15_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            free += [port] if port not in free else []
    return {"http_port": free[0], "rpc_port": free[1]}
