"""The real runtime, in a process of its own as in service: it may crash, and it prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.python_process import answer_of

pytest.importorskip("paddle", reason="needs the extra cpu or gpu")

PREDICT = """
import json, sys
from pathlib import Path
import numpy as np
from bundle import BundleError, load_bundle
from pipeline.predictors import PredictorError, PredictorOptions, create_predictor

folder, options, shapes = json.loads(sys.argv[1])
try:
    predictor = create_predictor(load_bundle(Path(folder)), options=PredictorOptions(**options))
    rows = []
    for shape in shapes:
        batch = np.random.default_rng(3).standard_normal((8, *shape[1:])).astype("float32")
        rows.append(predictor.predict(batch[: shape[0]]).tolist())
    print(json.dumps({"rows": rows, "name": predictor.name}))
except (BundleError, PredictorError) as error:
    print(json.dumps({"error": str(error), "kind": type(error).__name__}))
"""


def predict(root: Path, bundle: Path, shapes: list[list[int]], **options: Any) -> dict[str, Any]:
    return answer_of(root, PREDICT, json.dumps([str(bundle), options, shapes]))


@pytest.fixture
def waste(root: Path, tmp_path: Path) -> Path:
    """A copy of the embedded bundle that may be damaged; its record is left out."""
    shutil.copytree(root / "serving_model" / "waste", tmp_path / "waste")
    (tmp_path / "waste" / "bundle.yml").unlink()
    return tmp_path / "waste"


def test_every_batch_size_gives_each_picture_its_own_scores(root: Path, waste: Path) -> None:
    sizes = [1, 3, 8, 2, 8, 1]
    answer = predict(root, waste, [[size, 3, 224, 224] for size in sizes])
    assert answer["name"].startswith("Paddle ")
    whole = answer["rows"][2]
    for size, rows in zip(sizes, answer["rows"], strict=True):
        assert len(rows) == size
        for row, expected in zip(rows, whole, strict=False):
            assert row == pytest.approx(expected, abs=1e-5)
            assert sum(row) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "options",
    [{"onednn": False}, {"graph_optim": False}, {"memory_optim": False}, {"threads": 2}],
    ids=str,
)
def test_options_change_speed_and_not_answers(
    root: Path, waste: Path, options: dict[str, Any]
) -> None:
    shapes = [[2, 3, 224, 224]]
    fast, other = predict(root, waste, shapes), predict(root, waste, shapes, **options)
    for row, expected in zip(other["rows"][0], fast["rows"][0], strict=True):
        assert row == pytest.approx(expected, abs=1e-4)


def test_an_array_that_does_not_fit_the_feed(root: Path, waste: Path) -> None:
    answer = predict(root, waste, [[1, 3, 100, 100]])
    assert answer["kind"] == "PredictorError"
    assert "takes 3x224x224 and the preprocessing makes 3x100x100" in answer["error"]


def test_a_fetch_is_found_by_its_alias_or_missed_by_name(root: Path, waste: Path) -> None:
    assert "rows" in predict(root, waste, [[1, 3, 224, 224]], fetch="prediction")
    answer = predict(root, waste, [], fetch="boxes")
    assert "no fetch 'boxes'; mend fetch_list: it has prediction" in answer["error"]


def assert_one_line(answer: dict[str, Any], told: str) -> None:
    assert told in answer["error"]
    assert "\n" not in answer["error"]
    assert len(answer["error"]) < 600


def test_missing_parameters(root: Path, waste: Path) -> None:
    (waste / "serving_server" / "inference.pdiparams").unlink()
    assert_one_line(predict(root, waste, []), "inference.pdiparams is missing")


@pytest.mark.parametrize("cut", [1, 1000, 4_000_000, 5_110_000])
def test_truncated_parameters(root: Path, waste: Path, cut: int) -> None:
    params = waste / "serving_server" / "inference.pdiparams"
    params.write_bytes(params.read_bytes()[:-cut])
    assert_one_line(predict(root, waste, []), "inference.pdiparams")


def test_parameters_of_another_model(root: Path, waste: Path, shared: Path) -> None:
    foreign = shared / "models" / "PP-LCNet_x1_0_doc_ori" / "inference.pdiparams"
    shutil.copy(foreign, waste / "serving_server" / "inference.pdiparams")
    assert_one_line(predict(root, waste, []), "are graph and parameters from the same export?")


def test_a_graph_that_is_none(root: Path, waste: Path) -> None:
    graph = waste / "serving_server" / "inference.json"
    graph.write_bytes(graph.read_bytes()[:1000])
    assert_one_line(predict(root, waste, []), "inference.json")
