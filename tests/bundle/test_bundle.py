"""Bundles load from their folder or its serving_server; what is missing or wrong is named."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bundle import BundleError, load_bundle
from bundle.inference_yml import InferenceDescription, TransformOp, write_inference_yml
from bundle.model_config import ModelConfig, TensorSpec, write_model_config

CONFIG = ModelConfig(
    (TensorSpec("x", "x", "float32", (3, 4, 4)),),
    (TensorSpec("out", "prediction", "float32", (2,)),),
)
# One scalar of float32, as Paddle writes it.
PARAMS = bytes(16) + b"\x02\0\0\0\x08\x05" + bytes(4)

DESCRIPTION = InferenceDescription("m", (TransformOp("ToCHWImage", {}),), 1, ("纸, 板", "b"))

FILES = {
    "pir": {"inference.json": b'{"base_code":{"magic":"pir"}}', "inference.pdiparams": PARAMS},
    "pdmodel": {"inference.pdmodel": b"m", "inference.pdiparams": PARAMS},
    "fluid": {"__model__": b"m", "__params__": PARAMS},
    "separate": {"__model__": b"m", "fc.w_0": b"p"},
}

MakeBundle = Callable[..., Path]


@pytest.fixture
def make_bundle(tmp_path: Path) -> MakeBundle:
    """Make serving_model/NAME in one of the layouts of FILES."""

    def make(layout: str = "pir", labels: tuple[str, ...] | None = DESCRIPTION.labels) -> Path:
        path = tmp_path / "serving_model" / layout
        server, client = path / "serving_server", path / "serving_client"
        server.mkdir(parents=True)
        client.mkdir()
        for name, content in FILES[layout].items():
            (server / name).write_bytes(content)
        write_model_config(CONFIG, server, "serving_server_conf")
        write_model_config(CONFIG, client, "serving_client_conf")
        description = InferenceDescription("m", DESCRIPTION.transform_ops, 1, labels)
        write_inference_yml(description, server / "inference.yml")
        return path

    return make


@pytest.mark.parametrize("layout", FILES)
@pytest.mark.parametrize("inner", ["", "serving_server"])
def test_every_layout_loads(make_bundle: MakeBundle, layout: str, inner: str) -> None:
    path = make_bundle(layout)
    bundle = load_bundle(path / inner)
    assert (bundle.path, bundle.server_dir) == (path, path / "serving_server")
    assert bundle.model_config == CONFIG
    names = list(FILES[layout])
    assert bundle.graph_format.name == layout.replace("separate", "fluid")
    assert bundle.model_file == bundle.server_dir / names[0]
    params = None if layout == "separate" else bundle.server_dir / names[1]
    assert bundle.params_file == params
    assert bundle.description == DESCRIPTION
    assert bundle.labels == ("纸, 板", "b")
    assert bundle.classes == 2


def test_a_bundle_without_labels(make_bundle: MakeBundle) -> None:
    assert load_bundle(make_bundle(labels=None)).labels is None


@pytest.mark.parametrize(("labels", "cause"), [(("a",), "too few"), (("a", "b", "c"), "too many")])
def test_labels_must_be_as_many_as_classes(
    make_bundle: MakeBundle, labels: tuple[str, ...], cause: str
) -> None:
    with pytest.raises(BundleError, match=cause):
        load_bundle(make_bundle(labels=labels))


@pytest.mark.parametrize(
    "name",
    ["serving_server_conf.prototxt", "inference.yml", "inference.json", "inference.pdiparams"],
)
def test_a_missing_file_is_named(make_bundle: MakeBundle, name: str) -> None:
    path = make_bundle()
    (path / "serving_server" / name).unlink()
    with pytest.raises(BundleError, match=name.replace(".", r"\.")):
        load_bundle(path)


def test_two_models_are_listed(make_bundle: MakeBundle) -> None:
    path = make_bundle()
    (path / "serving_server/other.pdmodel").write_bytes(b"m")
    with pytest.raises(BundleError, match=r"inference\.json, other\.pdmodel"):
        load_bundle(path)


def test_other_json_files_may_lie_there(make_bundle: MakeBundle) -> None:
    path = make_bundle()
    (path / "serving_server/config.json").write_text('{"a": 1}')
    assert load_bundle(path).model_file.name == "inference.json"


def test_a_configuration_without_fetches(make_bundle: MakeBundle) -> None:
    path = make_bundle()
    write_model_config(
        ModelConfig(CONFIG.feeds, ()), path / "serving_server", "serving_server_conf"
    )
    with pytest.raises(BundleError, match="fetch"):
        load_bundle(path)
