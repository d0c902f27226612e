"""Paddle's library alone computes what all of Paddle computes, and makes way for it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("paddle", reason="needs the extra cpu or gpu")

PREDICT = """
import json, sys
from pathlib import Path
import numpy as np
from bundle import load_bundle
from pipeline.predictors import PredictorOptions, create_predictor, paddle_library

exec(sys.argv[1])
predictor = create_predictor(load_bundle(Path("serving_model/waste")), options=PredictorOptions())
alone = "paddle" not in sys.modules
batch = np.random.default_rng(3).standard_normal((2, 3, 224, 224)).astype("float32")
scores = predictor.predict(batch).tolist()
flags = sys.modules["paddle.base.libpaddle"].globals()
flags = {name: str(flags[name]) for name in flags.keys() if name != "FLAGS_nvidia_package_dir"}
answer = {"alone": alone, "name": predictor.name, "scores": scores, "flags": flags}
exec(sys.argv[2])
print(json.dumps(answer))
"""
AFTER_ALL_OF_PADDLE = "import paddle"
# As it was if the next Paddle named something anew.
AFTER_A_CHANGE = "paddle_library._begin = lambda library: library.renamed()"
BEFORE_ALL_OF_PADDLE = """
import paddle
answer["later"] = [paddle.__version__, (paddle.ones([2]) * 2).numpy().tolist()]
answer["again"] = predictor.predict(batch).tolist()
again = create_predictor(load_bundle(Path("serving_model/waste")), options=PredictorOptions())
answer["another"] = again.predict(batch).tolist()
"""


def predict(root: Path, before: str = "", after: str = "", **environment: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, before, after],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


@pytest.mark.parametrize("before", [AFTER_ALL_OF_PADDLE, AFTER_A_CHANGE])
def test_alone_it_is_what_it_is_in_all_of_paddle(root: Path, before: str) -> None:
    flag = {"FLAGS_allocator_strategy": "naive_best_fit"}  # it is auto_growth
    alone, whole = predict(root, **flag), predict(root, before, **flag)
    assert (alone.pop("alone"), whole.pop("alone")) == (True, False)
    assert alone["flags"]["FLAGS_allocator_strategy"] == "naive_best_fit"
    assert alone == whole


def test_all_of_paddle_may_be_imported_later(root: Path) -> None:
    answer = predict(root, after=BEFORE_ALL_OF_PADDLE)
    assert answer["alone"]
    version, twos = answer["later"]
    assert answer["name"] == f"Paddle {version} on cpu"
    assert twos == [2.0, 2.0]
    assert answer["again"] == answer["another"] == answer["scores"]
