"""ONNX outputs that are no tensors: maps of ZipMap, sequences beside the scores."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from bundle import load_bundle
from converter.__main__ import main
from converter.bundling.convert import ConvertOptions, convert
from converter.checking.verify import verify
from converter.describing.overrides import Overrides
from converter.errors import ConversionError
from converter.reading.exported_model import read_export
from pipeline.classifier import Classifier
from pipeline.predictors import create_predictor
from protocol.request import EncodedImage

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

OPS = "- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n"
COLOURS = [(250, 10, 20), (20, 240, 30), (10, 30, 255)]  # RGB, each of the class of its place

WriteMaps = Callable[..., Path]


@pytest.fixture
def write_maps(tmp_path: Path, write_onnx: Callable[..., object]) -> WriteMaps:
    """An export whose scores go through ZipMap; the brightest colour is the class."""

    def write(
        keys: Sequence[str] | Sequence[int], *, beside: str = "", batch: int | str = "N"
    ) -> Path:
        helper, types = onnx.helper, onnx.TensorProto
        folder = tmp_path / "export"
        folder.mkdir()
        write_onnx(folder / "net.onnx", batch=batch)
        model = onnx.load(str(folder / "net.onnx"))
        graph = model.graph
        for tensor in graph.initializer:
            value = np.eye(3) / 20 if tensor.name == "fc.w" else np.zeros(3)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value.astype(np.float32), tensor.name))
        text = isinstance(keys[0], str)
        kind = "classlabels_strings" if text else "classlabels_int64s"
        graph.node.append(
            helper.make_node("ZipMap", ["scores"], ["loss"], domain="ai.onnx.ml", **{kind: keys})
        )
        entry = helper.make_map_type_proto(
            types.STRING if text else types.INT64, helper.make_tensor_type_proto(types.FLOAT, [])
        )
        del graph.output[:]
        graph.output.append(helper.make_value_info("loss", helper.make_sequence_type_proto(entry)))
        if beside == "tensor":
            graph.output.append(helper.make_tensor_value_info("scores", types.FLOAT, ["N", 3]))
        if beside == "features":
            graph.output.insert(0, helper.make_tensor_value_info("x", types.FLOAT, None))
            graph.output[0].CopyFrom(helper.make_tensor_value_info("fc2", types.FLOAT, ["N", 6]))
            graph.node.append(helper.make_node("Concat", ["fc", "fc"], ["fc2"], axis=1))
        if beside == "sequence":
            tensor = helper.make_tensor_type_proto(types.FLOAT, ["N", 3])
            graph.output.insert(
                0, helper.make_value_info("parts", helper.make_sequence_type_proto(tensor))
            )
            graph.node.append(helper.make_node("SequenceConstruct", ["fc", "scores"], ["parts"]))
        model.opset_import.append(helper.make_opsetid("ai.onnx.ml", 2))
        onnx.save(model, str(folder / "net.onnx"))
        (tmp_path / "ops.yml").write_text(OPS)
        return folder

    return write


def options(folder: Path, **more: Any) -> ConvertOptions:
    labels = more.pop("labels", None)
    ops = str(folder.parent / "ops.yml")
    return ConvertOptions(folder, folder.parent / "out", Overrides(labels, ops), **more)


def best(bundle_dir: Path) -> list[str]:
    """The labels of images of one colour each, in one batch."""
    bundle = load_bundle(bundle_dir)
    classifier = Classifier(bundle, create_predictor(bundle))
    images = [np.full((9, 9, 3), colour[::-1], np.uint8) for colour in COLOURS]
    encoded = [EncodedImage(cv2.imencode(".png", image)[1].tobytes()) for image in images]
    found = []
    for result in classifier.classify(encoded):
        assert not isinstance(result, Exception)
        assert sum(category.score for category in result) == pytest.approx(1, abs=1e-5)
        found.append(result[0].label)
    return found


@pytest.mark.parametrize("batch", ["N", 1, 2])
def test_labels_and_their_order_are_those_of_the_map(
    write_maps: WriteMaps, batch: int | str
) -> None:
    """ONNX Runtime hands out the classes sorted by name: Fork, Mug, Spoon."""
    export = write_maps(["Mug", "Spoon", "Fork"], batch=batch)
    bundle = convert(options(export))
    assert bundle.labels == ("Mug", "Spoon", "Fork")
    assert bundle.output_activation == "softmax"
    assert (bundle.server_dir / "inference.onnx").read_bytes() == (export / "net.onnx").read_bytes()
    assert best(bundle.path) == ["Mug", "Spoon", "Fork"]
    assert verify(bundle.path).passed


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ([0, 1, 2], ["a", "b", "c"]),
        ([2, 0, 1], ["c", "a", "b"]),  # the first score is that of class 2
        ([30, 10, 20], ["a", "b", "c"]),  # no numbers of classes: in the order of the scores
    ],
)
def test_classes_by_number(write_maps: WriteMaps, keys: list[int], expected: list[str]) -> None:
    export = write_maps(keys)
    (export / "labels.txt").write_text("a\nb\nc\n")
    assert best(convert(options(export)).path) == expected


def test_numbers_without_labels_are_the_labels(write_maps: WriteMaps) -> None:
    assert convert(options(write_maps([30, 10, 20]))).labels == ("30", "10", "20")


def test_labels_in_another_order_than_the_graphs_are_refused(
    write_maps: WriteMaps, tmp_path: Path
) -> None:
    export, labels = write_maps(["Mug", "Spoon", "Fork"]), tmp_path / "sorted.txt"
    labels.write_text("Fork\nMug\nSpoon\n")
    with pytest.raises(ConversionError, match="class 0 is 'Fork' there and 'Mug' in"):
        convert(options(export, labels=labels))
    labels.write_text("杯子\n勺子\n叉子\n")
    assert best(convert(options(export, labels=labels)).path) == ["杯子", "勺子", "叉子"]


def test_a_tensor_of_scores_goes_before_a_map_and_aliases_choose(write_maps: WriteMaps) -> None:
    export = write_maps(["Mug", "Spoon", "Fork"], beside="tensor")
    bundle = convert(options(export))
    assert [fetch.alias for fetch in bundle.model_config.fetches] == ["loss", "prediction"]
    assert best(bundle.path) == ["Mug", "Spoon", "Fork"]
    chosen = convert(options(export, fetch_aliases=("prediction", "scores"), force=True))
    assert chosen.model_config.fetches[chosen.model_config.answering].name == "loss"
    assert best(chosen.path) == ["Mug", "Spoon", "Fork"]


def test_features_beside_a_map_are_no_scores(write_maps: WriteMaps) -> None:
    bundle = convert(options(write_maps(["Mug", "Spoon", "Fork"], beside="features")))
    assert [fetch.alias for fetch in bundle.model_config.fetches] == ["fc2", "prediction"]
    assert best(bundle.path) == ["Mug", "Spoon", "Fork"]


def test_sequences_beside_the_scores_are_left_out(
    write_maps: WriteMaps, capsys: pytest.CaptureFixture[str]
) -> None:
    export = write_maps(["Mug", "Spoon", "Fork"], beside="sequence")
    assert read_export(export).graph.left_out == ("'parts' (sequence)",)
    assert best(convert(options(export)).path) == ["Mug", "Spoon", "Fork"]
    assert main(["inspect", str(export), "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["outputs_left_out"] == ["'parts' (sequence)"]
    assert facts["label_names"] == ["Mug", "Spoon", "Fork"]
    assert main(["inspect", str(export)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "no tensors, and left out: 'parts' (sequence)" in shown
    assert "labels 3: 'Mug', 'Spoon', 'Fork'" in shown


def test_nothing_but_a_sequence_is_refused(write_maps: WriteMaps) -> None:
    export = write_maps(["Mug", "Spoon", "Fork"], beside="sequence")
    model = onnx.load(str(export / "net.onnx"))
    del model.graph.output[1:]
    onnx.save(model, str(export / "net.onnx"))
    with pytest.raises(ConversionError, match=r"gives 'parts' \(sequence\), and no tensor"):
        convert(options(export))


def test_a_map_is_not_exported_to_other_runtimes(
    write_maps: WriteMaps, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = convert(options(write_maps(["Mug", "Spoon", "Fork"])))
    for target in ("onnx", "paddle-lite"):
        output = bundle.path.parent / target
        assert main(["export", str(bundle.path), "--to", target, "--output", str(output)]) == 1
        assert "ONNX" in capsys.readouterr().err
        assert not output.exists()


@pytest.mark.parametrize(
    ("feed", "cause"),
    [
        (
            lambda: onnx.helper.make_tensor_value_info(
                "x", onnx.TensorProto.STRING, ["N", 3, 8, 8]
            ),
            "its input 'x' takes string; images are fed as float32",
        ),
        (
            lambda: onnx.helper.make_tensor_value_info(
                "x", onnx.TensorProto.UINT16, ["N", 3, 8, 8]
            ),
            "'x' is of a type that no classifier uses (ONNX element type 4)",
        ),
        (
            lambda: onnx.helper.make_value_info(
                "x",
                onnx.helper.make_sequence_type_proto(
                    onnx.helper.make_tensor_type_proto(onnx.TensorProto.FLOAT, ["N", 3])
                ),
            ),
            "'x' is a sequence, and no tensor, which images are fed as",
        ),
    ],
)
def test_inputs_that_no_image_is_fed_to(
    tmp_path: Path, feed: Callable[[], Any], cause: str, capsys: pytest.CaptureFixture[str]
) -> None:
    export = tmp_path / "export"
    export.mkdir()
    helper, types = onnx.helper, onnx.TensorProto
    constant = onnx.numpy_helper.from_array(np.ones((1, 3), np.float32), "c")
    shape = helper.make_node("SequenceLength" if "sequence" in cause else "Size", ["x"], ["n"])
    nodes = [shape, helper.make_node("Cast", ["n"], ["f"], to=types.FLOAT)]
    nodes.append(helper.make_node("Mul", ["c", "f"], ["scores"]))
    output = helper.make_tensor_value_info("scores", types.FLOAT, ["N", 3])
    graph = helper.make_graph(nodes, "g", [feed()], [output], [constant])
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), export / "net.onnx")
    (export / "labels.txt").write_text("a\nb\nc\n")
    arguments = ["convert", str(export), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--preprocess", "imagenet-224"]) == 1
    assert cause in capsys.readouterr().err
    if main(["inspect", str(export), "--json"]) == 0:
        served = json.loads(capsys.readouterr().out)["served_by"]["ONNX Runtime"]
        assert served == {"serves": False, "note": served["note"]}
        assert cause in served["note"]
