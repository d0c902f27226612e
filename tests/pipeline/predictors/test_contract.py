"""The contract of `predictor.Predictor`, for every runtime of the registry that is installed.

Each case is a runtime and a graph format that it reads. A runtime that is added to the registry is
tested here without another line.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import Bundle, load_bundle
from bundle.formats import FORMATS, GraphFormat
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from pipeline.predictors import Predictor, PredictorError, PredictorOptions, create_predictor
from pipeline.predictors.registry import RUNTIMES, Runtime
from tests.pipeline.predictors.exports import (
    CLASSES,
    KINDS,
    MAKERS,
    copy_of,
    expected,
    images,
    make_exports,
)
from tests.python_process import answer_of

DESCRIPTION = "- ResizeImage: {size: [8, 8]}\n- NormalizeImage: {order: ''}\n- ToCHWImage:\n"

Bundles = Callable[[GraphFormat, str], Bundle]
Load = Callable[..., Predictor]


def _cases() -> list[Any]:
    return [
        pytest.param(
            runtime,
            graph_format,
            id=f"{runtime.name}-{graph_format.name}",
            # exporting takes a Paddle of its own
            marks=[pytest.mark.slow] if graph_format.paddle else [],
        )
        for runtime in RUNTIMES.values()
        for graph_format in runtime.formats
    ]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    """The bundle of a format and a kind."""
    made: dict[GraphFormat, Path] = {}

    def bundle(graph_format: GraphFormat, kind: str) -> Bundle:
        if graph_format not in made:
            for package in MAKERS[graph_format]:
                if importlib.util.find_spec(package) is None:
                    pytest.skip(f"{package} is not installed")
            folder = tmp_path_factory.mktemp(graph_format.name)
            make_exports(graph_format, folder)
            (folder / "ops.yml").write_text(DESCRIPTION)
            (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n")
            for each in KINDS:
                overrides = Overrides(folder / "labels.txt", str(folder / "ops.yml"))
                convert(ConvertOptions(folder / each, folder / "bundles" / each, overrides))
            made[graph_format] = folder / "bundles"
        return load_bundle(made[graph_format] / kind)

    return bundle


pytestmark = pytest.mark.parametrize(("runtime", "graph_format"), _cases())


@pytest.fixture
def bundle(runtime: Runtime, graph_format: GraphFormat, bundles: Bundles) -> Bundle:
    """The plain network, for a runtime that is installed."""
    if not runtime.installed():
        pytest.skip(f"{runtime.title} is not installed")
    return bundles(graph_format, "plain")


@pytest.fixture
def load(runtime: Runtime, bundle: Bundle) -> Load:
    """Load the plain network, or another bundle, with some options."""

    def loaded(another: Bundle | None = None, **options: Any) -> Predictor:
        return create_predictor(another or bundle, runtime.name, PredictorOptions(**options))

    return loaded


def test_the_name_is_runtime_version_and_device_in_one_line(load: Load, runtime: Runtime) -> None:
    name = load().name
    assert name.startswith(f"{runtime.title} ")
    assert name.endswith(" on cpu")
    assert any(part[0].isdigit() for part in name.split())
    assert "\n" not in name


@pytest.mark.parametrize("count", [1, 2, 3, 8, 17])
def test_row_i_holds_the_scores_of_image_i(load: Load, count: int) -> None:
    predictor, batch = load(), images(17)
    scores = predictor.predict(batch[:count])
    assert scores.dtype == np.float32
    assert scores.shape == (count, CLASSES)
    assert np.allclose(scores, expected(batch[:count]), atol=1e-5)


def test_batch_sizes_may_follow_one_another_in_any_order(load: Load) -> None:
    predictor, batch = load(), images(8)
    for count in (3, 8, 1, 2, 8, 1, 5):
        assert np.allclose(predictor.predict(batch[:count]), expected(batch[:count]), atol=1e-5)


def test_the_scores_are_the_callers_own_copy(load: Load) -> None:
    predictor = load()
    first = predictor.predict(images(2))
    kept = first.copy()
    predictor.predict(images(2, seed=4))
    assert np.array_equal(first, kept)
    first[:] = 0  # it may be written to, and the next result is right all the same
    assert np.array_equal(predictor.predict(images(2)), kept)


def test_the_batch_is_not_changed_and_need_not_be_contiguous(load: Load) -> None:
    batch = images(4)
    strided = np.asfortranarray(batch)[::2]
    kept = strided.copy()
    assert np.allclose(load().predict(strided), expected(batch[::2]), atol=1e-5)
    assert np.array_equal(strided, kept)


def test_equal_batches_give_equal_scores(load: Load) -> None:
    predictor, batch = load(), images(5)
    first = predictor.predict(batch)
    assert all(np.array_equal(predictor.predict(batch), first) for _ in range(3))


def test_two_predictors_of_one_model_share_nothing(load: Load) -> None:
    one, other = load(), load()
    first = one.predict(images(2))
    other.predict(images(3, seed=4))
    assert np.array_equal(one.predict(images(2)), first)


def test_a_wrong_shape_is_an_error_and_the_predictor_goes_on(load: Load) -> None:
    predictor = load()
    for wrong in ((1, 3, 9, 9), (2, 1, 8, 8)):
        with pytest.raises(PredictorError, match="takes 3x8x8 and the preprocessing makes"):
            predictor.predict(np.zeros(wrong, np.float32))
    assert np.allclose(predictor.predict(images(2)), expected(images(2)), atol=1e-5)


@pytest.mark.parametrize("kind", ["fixed1", "fixed2"])
def test_a_graph_of_one_batch_size_takes_any(
    load: Load, bundles: Bundles, graph_format: GraphFormat, kind: str
) -> None:
    predictor, batch = load(bundles(graph_format, kind)), images(5)
    for count in (5, 1, 2):
        scores = predictor.predict(batch[:count])
        assert scores.shape == (count, CLASSES)
        assert np.allclose(scores, expected(batch[:count]), atol=1e-5)


@pytest.mark.filterwarnings("ignore:Expected shape")
def test_a_fixed_batch_that_the_bundle_does_not_know_is_an_error(
    load: Load, bundles: Bundles, graph_format: GraphFormat
) -> None:
    # as bundles of other converters are: nothing says that the graph takes one image a run
    unknown = dataclasses.replace(bundles(graph_format, "fixed1"), fixed_batch=None)
    with pytest.raises(PredictorError) as error:
        load(unknown).predict(images(5))
    assert "\n" not in str(error.value)


def test_scores_of_half_precision_become_float32(
    load: Load, bundles: Bundles, graph_format: GraphFormat
) -> None:
    scores = load(bundles(graph_format, "float16")).predict(images(3))
    assert scores.dtype == np.float32
    assert np.allclose(scores, expected(images(3)), atol=1e-3)


def test_the_scores_are_found_beside_class_numbers(
    load: Load, bundles: Bundles, graph_format: GraphFormat
) -> None:
    both = bundles(graph_format, "ids")
    assert np.allclose(load(both).predict(images(3)), expected(images(3)), atol=1e-5)
    (numbers,) = [fetch for fetch in both.model_config.fetches if fetch.alias != "prediction"]
    with pytest.raises(PredictorError, match="and scores are float32"):
        load(both, fetch=numbers.alias)


def test_the_fetch_is_found_by_its_alias(load: Load) -> None:
    assert load(fetch="prediction").predict(images(1)).shape == (1, CLASSES)
    with pytest.raises(PredictorError, match=r"no fetch 'boxes'.* it has prediction \(float32\)"):
        load(fetch="boxes")


@pytest.mark.parametrize(
    "options",
    [{"threads": 2}, {"onednn": False}, {"graph_optim": False}, {"memory_optim": False}],
    ids=str,
)
def test_options_change_speed_and_not_scores(load: Load, options: dict[str, Any]) -> None:
    batch = images(4)
    assert np.allclose(load(**options).predict(batch), expected(batch), atol=1e-5)


def test_an_unknown_device_is_refused_by_name(load: Load, runtime: Runtime) -> None:
    devices = " or ".join(runtime.devices)
    with pytest.raises(PredictorError, match=f"runs on {devices}, not on 'xpu'"):
        load(device="xpu")


def test_other_graphs_are_refused_with_the_backends_that_read_them(
    bundle: Bundle, runtime: Runtime
) -> None:
    for other in FORMATS.values():
        if other not in runtime.formats:
            graph = dataclasses.replace(bundle.graph, graph_format=other)
            with pytest.raises(PredictorError) as error:
                create_predictor(dataclasses.replace(bundle, graph=graph), runtime.name)
            readers = [row.name for row in RUNTIMES.values() if other in row.formats]
            assert f"set backend to {' or '.join([*readers, 'auto'])}" in str(error.value)


def test_nothing_is_printed(load: Load, capfd: pytest.CaptureFixture[str]) -> None:
    load().predict(images(2))
    assert capfd.readouterr().out == ""


DAMAGED = """
import json, sys
from pathlib import Path
from bundle import load_bundle
from pipeline.predictors import PredictorError, create_predictor

try:
    create_predictor(load_bundle(Path(sys.argv[1])), sys.argv[2])
except PredictorError as error:
    print(json.dumps({"error": str(error)}))
"""


def test_a_damaged_model_is_an_error_in_one_line(
    bundle: Bundle, runtime: Runtime, root: Path, tmp_path: Path
) -> None:
    copied = copy_of(bundle.path, tmp_path / "damaged")
    graph = copied / "serving_server" / bundle.model_file.name
    graph.write_bytes(graph.read_bytes()[: graph.stat().st_size * 2 // 3])
    # a process of its own: a runtime may crash on it
    error = answer_of(root, DAMAGED, str(copied), runtime.name)["error"]
    assert graph.name in error
    assert "cannot load" in error
    assert "\n" not in error
    assert len(error) < 600
