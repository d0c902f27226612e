"""A PIR graph written as a ProgramDesc gives the same scores in Paddle itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from converter.errors import ConversionError
from converter.reading.exported_model import read_export
from converter.targets.program_operators import UnknownOperatorError
from converter.targets.program_writer import write_program

MakeExport = Callable[..., Path]
RealBundle = Callable[[str], Path]
Predict = Callable[..., list[tuple[str, str, np.ndarray]]]


def _write(folder: Path, target: Path) -> Path:
    export = read_export(folder)
    write_program(export.model_file, export.graph, target / "model.pdmodel")
    assert export.params_file is not None
    (target / "model.pdiparams").write_bytes(export.params_file.read_bytes())
    return target


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("waste", (2, 3, 224, 224)),
        ("pir", (2, 3, 4, 4)),
        ("operators", (2, 3, 4, 4)),
        ("PP-LCNet_x1_0_doc_ori", (2, 3, 224, 224)),
        ("PP-LCNet_x0_25_textline_ori", (2, 3, 80, 160)),
    ],
)
def test_paddle_gives_the_same_scores(
    real_bundle: RealBundle,
    paddle_predict: Predict,
    tmp_path: Path,
    name: str,
    shape: tuple[int, ...],
) -> None:
    server = real_bundle(name) / "serving_server"
    written = _write(server, tmp_path)
    before, after = paddle_predict(
        shape,
        [server / "inference.json", server / "inference.pdiparams"],
        [written / "model.pdmodel", written / "model.pdiparams"],
    )
    assert before[0] == after[0]
    assert np.allclose(before[2], after[2], atol=1e-5)
    assert np.ptp(before[2]) > 0.01


@pytest.mark.parametrize("name", ["waste", "two outputs"])
def test_the_graph_reads_back_as_it_was(real_bundle: RealBundle, tmp_path: Path, name: str) -> None:
    """Inputs, outputs, parameters, and that the parameter file fits."""
    server = real_bundle(name) / "serving_server"
    before, after = read_export(server).graph, read_export(_write(server, tmp_path)).graph
    assert after.feeds == before.feeds
    assert after.parameters == before.parameters
    assert after.activations == before.activations
    assert [fetch.shape for fetch in after.fetches] == [fetch.shape for fetch in before.fetches]


def test_an_unknown_operator_is_named(make_export: MakeExport, tmp_path: Path) -> None:
    with pytest.raises(UnknownOperatorError, match="gelu"):
        _write(make_export("pir", last="gelu"), tmp_path)
    assert not (tmp_path / "model.pdmodel").exists()


def test_a_broken_operator_is_an_error_of_the_file(make_export: MakeExport, tmp_path: Path) -> None:
    folder = make_export("pir")
    graph = read_export(folder).graph
    model = folder / "inference.json"
    model.write_text(model.read_text().replace('"I": [{"%": 10}]', '"I": [{"?": 10}]'))
    with pytest.raises(ConversionError, match=r"inference\.json: is no Paddle graph"):
        write_program(model, graph, tmp_path / "model.pdmodel")
