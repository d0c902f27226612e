"""What would otherwise go wrong in silence, or at the first request."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
import yaml

from bundle import BundleError, load_bundle
from bundle.inference_yml import (
    InferenceDescription,
    TransformOp,
    read_inference_yml,
    write_inference_yml,
)
from bundle.labels import read_labels
from bundle.model_config import ModelConfig, TensorSpec, write_model_config

OPS = "PreProcess: {transform_ops: [ToCHWImage: null]}\n"
CONFIG = ModelConfig(
    (TensorSpec("x", "x", "float32", (3, 4, 4)),),
    (
        TensorSpec("features", "features", "float32", (512,)),
        TensorSpec("out", "prediction", "float32", (2,)),
    ),
)

# One scalar of float32, as Paddle writes it.
PARAMS = bytes(16) + b"\x02\0\0\0\x08\x05" + bytes(4)


@pytest.fixture
def bundle_dir(tmp_path: Path) -> Path:
    """A bundle with two outputs and a record."""
    path = tmp_path / "serving_model/two"
    server, client = path / "serving_server", path / "serving_client"
    server.mkdir(parents=True)
    client.mkdir()
    (server / "inference.pdmodel").write_bytes(b"model")
    (server / "inference.pdiparams").write_bytes(PARAMS)
    write_model_config(CONFIG, server, "serving_server_conf")
    write_model_config(CONFIG, client, "serving_client_conf")
    ops = (TransformOp("ToCHWImage", {}),)
    write_inference_yml(InferenceDescription("", ops, 1, ("a", "b")), server / "inference.yml")
    record = {
        "model": {"output_activation": "none", "fixed_batch": 1},
        "files": {
            "serving_server/inference.pdmodel": {"size": 5},
            "serving_server/inference.pdiparams": {"size": len(PARAMS)},
            "serving_server/inference.yml": {"size": 1},
        },
    }
    (path / "bundle.yml").write_text(yaml.safe_dump(record), encoding="utf-8")
    return path


def test_the_record_is_read(bundle_dir: Path) -> None:
    for path in (bundle_dir, bundle_dir / "serving_server"):
        bundle = load_bundle(path)
        assert (bundle.output_activation, bundle.fixed_batch) == ("none", 1)


def test_the_classes_are_those_of_the_prediction(bundle_dir: Path) -> None:
    assert load_bundle(bundle_dir).classes == 2


@pytest.mark.parametrize("name", ["/etc/passwd", "../other/file", "serving_server/../../x"])
def test_a_record_that_names_files_outside_of_the_bundle(bundle_dir: Path, name: str) -> None:
    (bundle_dir / "bundle.yml").write_text(yaml.safe_dump({"files": {name: {"size": 1}}}))
    with pytest.raises(BundleError, match="which lies outside of the bundle; convert the model"):
        load_bundle(bundle_dir)


def test_a_pipe_in_place_of_the_description(bundle_dir: Path) -> None:
    file = bundle_dir / "serving_server/inference.yml"
    file.unlink()
    os.mkfifo(file)
    (bundle_dir / "bundle.yml").unlink()  # which would report it as missing
    with pytest.raises(BundleError, match=r"inference\.yml is no file; convert the model again"):
        load_bundle(bundle_dir)


def test_a_truncated_parameter_file(bundle_dir: Path) -> None:
    (bundle_dir / "serving_server/inference.pdiparams").write_bytes(PARAMS[:-1])
    with pytest.raises(BundleError, match=r"pdiparams has 25 bytes, 26 when"):
        load_bundle(bundle_dir)


@pytest.mark.parametrize(
    "file",
    [
        "serving_server/serving_server_conf.stream.prototxt",
        "serving_client/serving_client_conf.prototxt",
        "serving_client/serving_client_conf.stream.prototxt",
    ],
)
def test_configurations_that_disagree(bundle_dir: Path, file: str) -> None:
    other = ModelConfig(CONFIG.feeds, CONFIG.fetches[1:])
    stem = Path(file).name.split(".", maxsplit=1)[0]
    kept = {f: f.read_bytes() for f in bundle_dir.rglob("*.prototxt") if not f.match(file)}
    write_model_config(other, (bundle_dir / file).parent, stem)
    for path, content in kept.items():
        path.write_bytes(content)
    with pytest.raises(BundleError, match="disagrees"):
        load_bundle(bundle_dir)


def test_the_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="nothing is no serving bundle"):
        load_bundle(tmp_path / "nothing")


LOST = ["007", "0777", "0x1F", "1_000", "1:30", "+5", "-0", "0b1", "no", "on", "Yes", "1.0", ".5",
        "1.e+3", ".inf", "null", "~", "2024-01-01", "2024-13-45", "="]  # fmt: skip


@pytest.mark.parametrize("label", LOST)
def test_a_label_without_quotes_is_not_guessed(tmp_path: Path, label: str) -> None:
    text = OPS + f"PostProcess:\n  Topk:\n    label_list:\n    - a\n    - {label}\n"
    (tmp_path / "a.yml").write_text(text)
    cause = re.escape(
        f"a.yml: PostProcess.Topk.label_list line 6: the label of class 1 is {label},"
    )
    with pytest.raises(BundleError, match=cause + f".* put it in quotes: '{re.escape(label)}'$"):
        read_inference_yml(tmp_path / "a.yml")
    (tmp_path / "a.yml").write_text(text.replace(f"- {label}", f"- '{label}'"))
    assert read_inference_yml(tmp_path / "a.yml").labels == ("a", label)


@pytest.mark.parametrize("label", ["0", "5", "-1", "1000", "1e3", "0o7", "1.2.3", "n", "y"])
def test_a_label_that_loses_nothing_without_quotes(tmp_path: Path, label: str) -> None:
    """Integers as PaddleX writes them, and what YAML reads as text."""
    (tmp_path / "a.yml").write_text(OPS + f"PostProcess: {{Topk: {{label_list: [a, {label}]}}}}\n")
    description = read_inference_yml(tmp_path / "a.yml")
    assert description.labels == ("a", label)
    write_inference_yml(description, tmp_path / "b.yml")
    assert read_inference_yml(tmp_path / "b.yml").labels == ("a", label)


@pytest.mark.parametrize(
    ("label", "cause"),
    [
        ("", "the label of class 1 is empty; write its name"),
        ("# 5", "the label of class 1 is empty; write its name"),
        ("a: b", "is a: b, which YAML reads as a mapping; put it in quotes: 'a: b'"),
        ("[it's]", r"is \[it's\], which YAML reads as a list; put it in quotes: '\[it''s\]'"),
    ],
)
def test_labels_that_yaml_takes_apart(tmp_path: Path, label: str, cause: str) -> None:
    text = OPS + f"PostProcess:\n  Topk:\n    label_list:\n    - a\n    - {label}\n    - c\n"
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(BundleError, match=cause):
        read_inference_yml(tmp_path / "a.yml")


def test_what_is_not_read_is_written_back_as_it_was(tmp_path: Path) -> None:
    text = OPS + "Other: {label_list: [no, 0777, 2024-01-01, 'no'], x: no}\n"
    (tmp_path / "a.yml").write_text(text)
    write_inference_yml(read_inference_yml(tmp_path / "a.yml"), tmp_path / "b.yml")
    written = (tmp_path / "b.yml").read_text()
    assert yaml.safe_load(written)["Other"] == yaml.safe_load(text)["Other"]
    assert "- 0777" in written


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        (OPS + OPS, "'PreProcess' is given twice"),
        (
            OPS + "PostProcess: {NormalizeFeatures: null}",
            "NormalizeFeatures; a classifier has one of Topk",
        ),
        (OPS + "PostProcess: {Topk: {topk: yes}}", "topk must be 1 or more"),
        (OPS + "PostProcess: {Topk: {label_list: []}}", "label_list must be a list"),
        ("PreProcess: {transform_ops: []}", "must be a list of operators"),
    ],
)
def test_descriptions_that_cannot_be_meant(tmp_path: Path, text: str, cause: str) -> None:
    (tmp_path / "a.yml").write_text(text)
    with pytest.raises(BundleError, match=cause):
        read_inference_yml(tmp_path / "a.yml")


def test_empty_sections_can_be_written_to(tmp_path: Path) -> None:
    file = tmp_path / "a.yml"
    file.write_text("Global:\nPostProcess:\n" + OPS)
    description = read_inference_yml(file)
    named = InferenceDescription("m", description.transform_ops, 1, ("a",))
    write_inference_yml(named, file)
    assert read_inference_yml(file) == named


def test_synset_ids_are_left_out(tmp_path: Path) -> None:
    file = tmp_path / "labels.txt"
    file.write_text("n01440764 tench, Tinca tinca\nn01443537 goldfish\n")
    assert read_labels(file) == ("tench, Tinca tinca", "goldfish")
    file.write_text("n01440764 tench, Tinca tinca\ngoldfish\n")
    assert read_labels(file)[0] == "n01440764 tench, Tinca tinca"


def test_only_line_ends_end_a_label(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a\u2028b\x85c\nd\n", encoding="utf-8")
    assert read_labels(tmp_path / "labels.txt") == ("a\u2028b\x85c", "d")


def test_the_line_that_is_not_utf8_is_named(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_bytes(b"\xef\xbb\xbfa\nb\n\xd6\xbd\xb0\xe5\n")
    with pytest.raises(BundleError, match="line 3"):
        read_labels(tmp_path / "labels.txt")
