"""serving_*_conf.prototxt: what the official converter wrote comes back byte for byte."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bundle import BundleError
from bundle.model_config import (
    DTYPE_CODES,
    ModelConfig,
    TensorSpec,
    read_model_config,
    to_prototxt,
    write_model_config,
)
from tests.patience import PATIENCE_S

CONFIG = ModelConfig(
    feeds=(TensorSpec("image", "image", "float32", (3, -1, -1)),),
    fetches=(
        TensorSpec("softmax_0.tmp_0", "prediction", "float32", (1000,)),
        TensorSpec("ids", "类别", "int64", (-1,), is_lod=True),
    ),
)
SUFFIXES = (".prototxt", ".stream.prototxt")


@pytest.mark.parametrize(
    "stem", ["uci_housing_model/serving_server_conf", "uci_housing_client/serving_client_conf"]
)
def test_official_files_come_back_byte_for_byte(shared: Path, tmp_path: Path, stem: str) -> None:
    text, stream = (shared / f"models/serving_uci_housing/{stem}{end}" for end in SUFFIXES)
    config = read_model_config(text)
    assert config == read_model_config(stream)
    assert config.feeds == (TensorSpec("x", "x", "float32", (13,)),)
    assert config.fetches == (TensorSpec("fc_0.tmp_1", "price", "float32", (1,)),)
    write_model_config(config, tmp_path, text.name[: -len(".prototxt")])
    assert (tmp_path / text.name).read_bytes() == text.read_bytes()
    assert (tmp_path / stream.name).read_bytes() == stream.read_bytes()


def test_an_official_file_with_several_variables(shared: Path) -> None:
    (file,) = (shared / "models/config_samples").glob("*serving_server_conf.prototxt")
    config = read_model_config(file)
    assert [feed.name for feed in config.feeds] == ["x", "boxes"]
    assert config.fetches[0] == TensorSpec("batch_norm_25.tmp_2", "features", "float32", (512,))
    assert to_prototxt(config) == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_written_is_read(tmp_path: Path, suffix: str) -> None:
    write_model_config(CONFIG, tmp_path, "conf")
    assert read_model_config(tmp_path / f"conf{suffix}") == CONFIG


@pytest.mark.parametrize("dtype", DTYPE_CODES)
def test_every_dtype(tmp_path: Path, dtype: str) -> None:
    config = ModelConfig((TensorSpec("x", "x", dtype, ()),), (TensorSpec("y", "y", dtype, ()),))
    write_model_config(config, tmp_path, "conf")
    assert read_model_config(tmp_path / "conf.stream.prototxt") == config


def test_the_layout_of_the_text() -> None:
    one = ModelConfig(CONFIG.feeds, ())
    assert to_prototxt(one) == (
        'feed_var {\n  name: "image"\n  alias_name: "image"\n  is_lod_tensor: false\n'
        "  feed_type: 1\n  shape: 3\n  shape: -1\n  shape: -1\n}\n"
    )


def test_a_missing_alias_is_the_name(tmp_path: Path) -> None:
    (tmp_path / "a.prototxt").write_text('feed_var { name: "x" }\nfetch_var { name: "y" }\n')
    config = read_model_config(tmp_path / "a.prototxt")
    assert (config.feeds[0].alias, config.feeds[0].dtype) == ("x", "int64")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.prototxt", b"feed_var {"),
        ("a.prototxt", b"feeds { }"),
        ("a.prototxt", b"\xff\xfe"),
        ("a.stream.prototxt", b"\x0a\x50\x0a"),
        ("a.prototxt", b'feed_var { name: "x" feed_type: 77 }'),
    ],
)
def test_damaged_files(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(BundleError, match=name):
        read_model_config(tmp_path / name)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"nothing\.prototxt"):
        read_model_config(tmp_path / "nothing.prototxt")


def test_messages_of_the_official_names_may_be_loaded_beside_ours(root: Path) -> None:
    """Inside the official engine its own GeneralModelConfig is in protobuf's common pool."""
    script = """
from google.protobuf import descriptor_pb2, descriptor_pool
file = descriptor_pb2.FileDescriptorProto(
    name="general_model_config.proto", package="baidu.paddle_serving.configure")
file.message_type.add(name="FeedVar")
descriptor_pool.Default().AddSerializedFile(file.SerializeToString())
import bundle, bundle.dynamic_messages, bundle.model_config
descriptor_pool.Default().FindMessageTypeByName("baidu.paddle_serving.configure.FeedVar")
"""
    subprocess.run([sys.executable, "-c", script], cwd=root, check=True, timeout=PATIENCE_S)
