"""The recorded answers of the official 0.9 are what it answers.

`RECORD=1 python -m pytest tests/conformance/test_recorded.py` records them again.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.conformance.conftest import RECORDED

Ask = Callable[..., dict[str, Any]]
Request = pytest.FixtureRequest


def engine_quirks(official: Ask, _request: Request, folder: Path) -> dict[str, Any]:
    pickled = folder / "made by unpickling"
    answer = official("engine_quirks", pickled=str(pickled))
    return {**answer, "unpickled": pickled.exists()}


def metrics_quirks(official: Ask, _request: Request, _folder: Path) -> dict[str, Any]:
    return official("metrics_quirks")


def converter_quirks(official: Ask, _request: Request, _folder: Path) -> dict[str, Any]:
    return official("converter_quirks", show_proto="False")


def client_quirks(official: Ask, request: Request, _folder: Path) -> dict[str, Any]:
    port = int(request.getfixturevalue("single").endpoint.rpartition(":")[2])
    daisy = (request.getfixturevalue("shared") / "images" / "daisy.jpg").read_bytes()
    return official("client_quirks", port=port, image=base64.b64encode(daisy).decode())


def predict_by_alias(official: Ask, request: Request, folder: Path) -> dict[str, Any]:
    np.savez(folder / "arrays.npz", image=np.zeros((3, 48, 192), np.float32))
    return official(
        "predict",
        server_dir=str(request.getfixturevalue("bundles") / "anysize" / "serving_server"),
        arrays=str(folder / "arrays.npz"),
        feed="image",
        fetch=["score"],
        onednn=False,
    )


def inference_json(_official: Ask, request: Request, folder: Path) -> dict[str, Any]:
    server_dir = request.getfixturevalue("root") / "serving_model" / "waste" / "serving_server"
    code = (
        "import requests; from paddle_serving_app.local_predict import LocalPredictor as P; "
        f"P().load_model_config({str(server_dir)!r}); print('loaded')"
    )
    done = subprocess.run(
        [str(request.getfixturevalue("paddle_serving_python")), "-c", code],
        cwd=folder,
        env={**os.environ, "SERVING_LOG_PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        start_new_session=True,  # it kills its whole group
    )
    return {"exit code": done.returncode, "loaded": "loaded" in done.stdout}


ANSWERS = {
    answer.__name__: answer
    for answer in (
        engine_quirks,
        metrics_quirks,
        converter_quirks,
        client_quirks,
        predict_by_alias,
        inference_json,
    )
}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_recorded_answer_is_what_0_9_answers(
    official: Ask, request: pytest.FixtureRequest, tmp_path: Path, name: str
) -> None:
    answer = ANSWERS[name](official, request, tmp_path)
    known = json.loads(RECORDED.read_text("utf-8")) if RECORDED.exists() else {}
    if os.environ.get("RECORD") == "1":
        known[name] = answer
        text = json.dumps(known, indent=2, sort_keys=True, ensure_ascii=False)
        RECORDED.write_text(text + "\n", encoding="utf-8")
    assert answer == known[name]


def test_every_recorded_answer_is_compared(recorded: dict[str, Any]) -> None:
    assert set(recorded) == set(ANSWERS)
