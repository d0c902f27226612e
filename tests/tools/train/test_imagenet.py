"""`--init imagenet`: Paddle's own download, from a server here in place of its store."""

from __future__ import annotations

import hashlib
import importlib
import threading
from collections.abc import Iterator
from functools import partial
from http.server import HTTPServer, SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

paddle = pytest.importorskip("paddle", reason="training needs the extra cpu or gpu")
pytest.importorskip("tqdm", reason="training needs the extra train")

from paddle.utils import download  # noqa: E402

from tools.train.__main__ import main  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore:When training, we now always:UserWarning")

ARCH = "shufflenet_v2_x0_25"
SMALL = ["--size", "32", "--test-resize", "36", "--test-size", "32", "--batch-size", "4"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for split in ("train", "val"):
        for number, name in enumerate(("a", "b")):
            (folder / split / name).mkdir(parents=True)
            for count in range(2):
                image = np.full((40, 48, 3), 60 * number + 20 * count, np.uint8)
                cv2.imwrite(str(folder / split / name / f"{count}.png"), image)
    return folder


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A folder that is served in place of Paddle's store, with the weights of ARCH."""
    folder = tmp_path / "store"
    folder.mkdir()
    paddle.seed(5)
    state = getattr(paddle.vision.models, ARCH)().state_dict()
    file = folder / f"{ARCH}.pdparams"
    paddle.save(state, str(file))
    handler = partial(SimpleHTTPRequestHandler, directory=str(folder))
    server = HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}/{file.name}"
    digest = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    module = importlib.import_module("paddle.vision.models.shufflenetv2")
    monkeypatch.setitem(module.model_urls, ARCH, (url, digest))
    monkeypatch.setattr(download, "WEIGHTS_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield file, state
    server.shutdown()
    server.server_close()
    thread.join()


def fit(data: Path, run: Path, *options: str) -> int:
    return main(
        ["fit", str(data), "--run", str(run), "--arch", ARCH, "--epochs", "1",
         "--learning-rate", "1e-12", *SMALL, *options]
    )  # fmt: skip


@pytest.mark.parametrize("name", ["imagenet", "ImageNet"])
def test_training_begins_at_them(
    data: Path,
    tmp_path: Path,
    store: tuple[Path, dict[str, Any]],
    capsys: pytest.CaptureFixture[str],
    name: str,
) -> None:
    _, published = store
    assert fit(data, tmp_path / "run", "--init", name) == 0
    shown = capsys.readouterr()
    line = f"ImageNet weights of {ARCH}: published by Paddle (paddle.vision.models), in"
    assert f"{line} {tmp_path / 'cache'}" in shown.out
    assert "random weights" not in shown.err
    trained = paddle.load(str(tmp_path / "run/best.pdparams"))
    *body, weight, bias = list(published)
    assert list(trained) == [*body, weight, bias]
    assert trained[weight].shape[-1] == 2  # the classes of the data
    for key in body:
        if "_mean" not in key and "_variance" not in key:
            assert np.allclose(trained[key].numpy(), published[key].numpy(), atol=1e-6), key


def test_random_weights_are_warned_of(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert fit(data, tmp_path / "run") == 0
    assert capsys.readouterr().err.count("warning: training begins at random weights") == 1
    assert fit(data, tmp_path / "run", "--resume") == 0
    assert "random weights" not in capsys.readouterr().err


def test_a_machine_that_cannot_download_them(
    data: Path,
    tmp_path: Path,
    store: tuple[Path, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, _ = store
    file.unlink()
    monkeypatch.setattr(download, "DOWNLOAD_RETRY_LIMIT", 0)
    assert fit(data, tmp_path / "run", "--init", "imagenet") == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert "cannot be downloaded from http://127.0.0.1:" in line
    assert file.name in line
    assert line.endswith("give it with --init FILE, or leave --init out")
    assert not (tmp_path / "run").exists()


def test_a_network_without_them(
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = importlib.import_module("paddle.vision.models.shufflenetv2")
    monkeypatch.delitem(module.model_urls, ARCH)
    assert fit(data, tmp_path / "run", "--init", "imagenet") == 1
    assert f"Paddle publishes no ImageNet weights of {ARCH}" in capsys.readouterr().err
