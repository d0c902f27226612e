"""Paddle's library alone computes what all of Paddle computes, and makes way for it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from pipeline.predictors.paddle_library import runs_alone
from tests.python_process import answer_of

FOUND = importlib.util.find_spec("paddle")
if FOUND is None or FOUND.origin is None or not runs_alone(Path(FOUND.origin).parent):
    pytest.skip("needs a Paddle for the CPU, 3.1 to 3.3", allow_module_level=True)

PREDICT = """
import json, sys
from pathlib import Path
import numpy as np
from bundle import load_bundle
from pipeline.predictors import PredictorOptions, create_predictor, paddle_library

exec(sys.argv[1])
predictor = create_predictor(load_bundle(Path("serving_model/waste")), "paddle", PredictorOptions())
alone = "paddle" not in sys.modules
batch = np.random.default_rng(3).standard_normal((2, 3, 224, 224)).astype("float32")
scores = predictor.predict(batch).tolist()
if alone:
    library = sys.meta_path[0].create_module(None)
else:
    import paddle.base
    library = paddle.base.libpaddle
flags = {name: str(library.globals()[name]) for name in library.globals().keys()}
del flags["FLAGS_nvidia_package_dir"]
answer = {"alone": alone, "name": predictor.name, "scores": scores, "flags": flags}
exec(sys.argv[2])
print(json.dumps(answer))
"""
AFTER_ALL_OF_PADDLE = "import paddle"
# As if a next Paddle named something anew, and as Paddle says of a flag that it does not know.
AFTER_A_CHANGE = "paddle_library._begin = lambda library: library.renamed()"
AFTER_ANOTHER = "paddle_library._begin = lambda library: library.globals()['FLAGS_none']"
BEFORE_ALL_OF_PADDLE = """
import paddle
assert paddle.base.libpaddle is sys.modules["paddle.base.libpaddle"] is library
import tempfile
layer, twos = paddle.nn.Linear(2, 2), paddle.ones([1, 2]) * 2
static = paddle.jit.to_static(layer, [paddle.static.InputSpec([None, 2])], full_graph=True)
with tempfile.TemporaryDirectory() as folder:
    paddle.jit.save(static, folder + "/layer")
    loaded = paddle.jit.load(folder + "/layer")
    assert np.allclose(loaded(twos).numpy(), layer(twos).numpy(), atol=1e-6)
answer["later"] = [paddle.__version__, twos.numpy().tolist()]
answer["again"] = predictor.predict(batch).tolist()
again = create_predictor(load_bundle(Path("serving_model/waste")), "paddle", PredictorOptions())
answer["another"] = again.predict(batch).tolist()
"""


def predict(root: Path, before: str = "", after: str = "", **environment: str) -> dict[str, Any]:
    return answer_of(root, PREDICT, before, after, **environment)


@pytest.mark.parametrize(
    ("before", "flag", "value"),
    [
        (AFTER_ALL_OF_PADDLE, "FLAGS_allocator_strategy", "naive_best_fit"),  # it is auto_growth
        (AFTER_A_CHANGE, "FLAGS_enable_pir_api", "0"),  # it is 1
        (AFTER_ANOTHER, "FLAGS_enable_pir_api", "1"),
    ],
    ids=["all-of-paddle", "renamed", "flag-gone"],
)
def test_alone_it_is_what_it_is_in_all_of_paddle(
    root: Path, before: str, flag: str, value: str
) -> None:
    alone, whole = (predict(root, first, **{flag: value}) for first in ("", before))
    assert (alone.pop("alone"), whole.pop("alone")) == (True, False)
    assert alone["flags"][flag] in (value, {"0": "False", "1": "True"}.get(value))
    assert alone == whole


def test_what_is_not_known_to_run_alone(tmp_path: Path) -> None:
    package = Path(FOUND.origin).parent
    assert runs_alone(package)
    (tmp_path / "base").mkdir()
    (tmp_path / "version").mkdir()
    text = (package / "version" / "__init__.py").read_text(encoding="utf-8")
    version = tmp_path / "version" / "__init__.py"
    version.write_text(text, encoding="utf-8")
    assert not runs_alone(tmp_path)  # as on Windows, where the file has another name
    (tmp_path / "base" / "libpaddle.so").touch()
    assert runs_alone(tmp_path)
    for line in ("minor = '4'", "minor = '0'", "major = '2'", "cuda_version = '12.6'", "del minor"):
        version.write_text(f"{text}\n{line}\n", encoding="utf-8")
        assert not runs_alone(tmp_path), line


def test_all_of_paddle_may_be_imported_later(root: Path) -> None:
    answer = predict(root, after=BEFORE_ALL_OF_PADDLE)
    assert answer["alone"]
    version, twos = answer["later"]
    assert answer["name"] == f"Paddle {version} on cpu"
    assert twos == [[2.0, 2.0]]
    assert answer["again"] == answer["another"] == answer["scores"]
