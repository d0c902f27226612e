"""The models of others: what is read from them equals what Paddle itself says of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bundle import Bundle
from bundle.inference_yml import write_inference_yml
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.inspection import inspect_folder
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from converter.reading.exported_model import read_export

CLS_OPS = """\
- ResizeImage: {size: [192, 48]}
- NormalizeImage: {scale: 1.0/255.0, mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5], order: ''}
- ToCHWImage: null
"""
SHUFFLENET = "imagenet_shufflenetv2_fluid_sep"
CLS = "ch_ppocr_mobile_v2_cls_infer"

Predict = Callable[..., list[tuple[str, str, np.ndarray]]]


def _convert(models: Path, name: str, tmp_path: Path) -> Bundle:
    overrides = Overrides()
    if name == CLS:
        (tmp_path / "ops.yml").write_text(CLS_OPS)
        (tmp_path / "labels.txt").write_text("0\n180\n")
        overrides = Overrides(tmp_path / "labels.txt", str(tmp_path / "ops.yml"))
    if name == SHUFFLENET:
        overrides = Overrides(models / "synset_words.txt", "imagenet-224")
    return convert(ConvertOptions(models / name, tmp_path / "out", overrides))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [
        ("PP-LCNet_x1_0_doc_ori", (3, 224, 224), 4, 146),
        ("PP-LCNet_x0_25_textline_ori", (3, 80, 160), 2, 145),
        (CLS, (3, 48, 192), 2, 213),
        (SHUFFLENET, (3, 224, 224), 1000, 282),
    ],
)
def test_they_convert_and_answer(
    shared: Path,
    tmp_path: Path,
    paddle_predict: Predict,
    name: str,
    shape: tuple[int, ...],
    classes: int,
    parameters: int,
) -> None:
    bundle = _convert(shared / "models", name, tmp_path)
    facts = inspect_folder(bundle.path)
    assert (facts["parameters"], facts["output_activation"]) == (parameters, "softmax")
    assert bundle.classes == classes == len(bundle.labels or ())
    graph = bundle.graph
    # one file a parameter: Paddle takes the folder
    files = [graph.model_file, graph.params_file] if graph.params_file else [bundle.server_dir]
    ((feed, fetch, scores),) = paddle_predict((2, *shape), files)
    assert (feed, fetch) == (
        bundle.model_config.feeds[0].name,
        bundle.model_config.fetches[0].name,
    )
    assert scores.shape == (2, classes)
    assert np.allclose(scores.sum(axis=1), 1, atol=1e-5)


def test_dynamic_dimensions_keep_their_place(shared: Path, tmp_path: Path) -> None:
    bundle = _convert(shared / "models", CLS, tmp_path)
    assert bundle.model_config.feeds[0].shape == (3, -1, -1)


def test_separate_parameters_joined_to_one_file(
    shared: Path, tmp_path: Path, paddle_predict: Predict
) -> None:
    """A combined file is the separate ones in the order of their names."""
    separate = read_export(shared / "models" / SHUFFLENET)
    joined = tmp_path / "joined"
    joined.mkdir()
    (joined / "__model__").write_bytes(separate.model_file.read_bytes())
    with (joined / "__params__").open("wb") as out:
        for file in separate.separate_params:
            out.write(file.read_bytes())
    bundle = convert(
        ConvertOptions(
            joined,
            tmp_path / "out",
            Overrides(shared / "models/synset_words.txt", "imagenet-224"),
        )
    )
    assert bundle.graph.params_file is not None
    files = [bundle.graph.model_file, bundle.graph.params_file]
    one, many = paddle_predict((1, 3, 224, 224), files, [separate.folder])
    assert np.allclose(one[2], many[2], atol=1e-6)


@pytest.mark.parametrize("name", ["PP-LCNet_x1_0_doc_ori", "PP-LCNet_x0_25_textline_ori"])
def test_official_descriptions_are_written_back_unchanged(
    shared: Path, tmp_path: Path, name: str
) -> None:
    bundle = _convert(shared / "models", name, tmp_path)
    official = (shared / "models" / name / "inference.yml").read_bytes()
    assert (bundle.server_dir / "inference.yml").read_bytes() == official
    write_inference_yml(bundle.description, tmp_path / "again.yml")
    assert (tmp_path / "again.yml").read_bytes() == official


def test_parameters_of_one_official_model_under_the_other(shared: Path, tmp_path: Path) -> None:
    doc, line = (
        shared / "models" / name
        for name in ("PP-LCNet_x1_0_doc_ori", "PP-LCNet_x0_25_textline_ori")
    )
    (tmp_path / "inference.json").write_bytes((doc / "inference.json").read_bytes())
    (tmp_path / "inference.pdiparams").write_bytes((line / "inference.pdiparams").read_bytes())
    with pytest.raises(ConversionError, match="belongs to another model"):
        read_export(tmp_path)


def test_a_bundle_of_the_official_converter(shared: Path) -> None:
    facts = inspect_folder(shared / "models/serving_uci_housing/uci_housing_model")
    assert facts["kind"] == "bundle"
    assert [(fetch["name"], fetch["alias"]) for fetch in facts["fetches"]] == [
        ("fc_0.tmp_1", "price")
    ]
