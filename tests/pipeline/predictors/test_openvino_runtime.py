"""What is OpenVINO's own; test_contract.py has what every runtime does."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundle import Bundle
from bundle.formats import ONNX
from converter.bundling.convert import ConvertOptions, convert
from converter.describing.overrides import Overrides
from pipeline.predictors import PredictorError, PredictorOptions, create_predictor, openvino_runtime
from tests.pipeline.predictors.exports import copy_of, expected, images, make_exports
from tests.python_process import answer_of

openvino = pytest.importorskip("openvino", reason="needs the extra openvino")
onnx = pytest.importorskip("onnx", reason="the graphs are made with onnx")
pytest.importorskip("onnxruntime", reason="converting .onnx needs it")

CAPABILITIES = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
needs_bf16 = pytest.mark.skipif("BF16" not in CAPABILITIES, reason="this CPU has no bf16")
WriteOnnx = Callable[..., dict[str, np.ndarray]]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("openvino")
    make_exports(ONNX, folder)
    (folder / "ops.yml").write_text("- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n")
    (folder / "labels.txt").write_text("a\nb\nc\nd\ne\n")
    overrides = Overrides(folder / "labels.txt", str(folder / "ops.yml"))
    return convert(ConvertOptions(folder / "plain", folder / "bundle", overrides))


def load(bundle: Bundle, **options: Any) -> Any:
    return create_predictor(bundle, "openvino", PredictorOptions(**options))


def with_graph(bundle: Bundle, folder: Path, graph: bytes) -> Bundle:
    """The bundle with another graph under its name."""
    copied = copy_of(bundle.path, folder / "other")
    file = copied / "serving_server" / bundle.model_file.name
    file.write_bytes(graph)
    files = dataclasses.replace(bundle.graph, model_file=file)
    return dataclasses.replace(bundle, path=copied, graph=files)


def network(nodes: list[Any], output: Any) -> bytes:
    feed = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 8, 8])
    graph = onnx.helper.make_graph(nodes, "other", [feed], [output])
    opsets = [onnx.helper.make_opsetid(*one) for one in (("", 17), ("ai.onnx.ml", 3), ("mine", 1))]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    serialized: bytes = model.SerializeToString()
    return serialized


def test_it_computes_in_float32_on_unpinned_threads(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Left to itself it takes bf16 where the CPU has it, and all processes to the same cores."""
    compiled: list[Any] = []
    check = openvino_runtime._check_computed_in

    def recorded(model: Any, precision: str) -> None:
        compiled.append(model)
        check(model, precision)

    monkeypatch.setattr(openvino_runtime, "_check_computed_in", recorded)
    load(bundle, threads=2)
    (model,) = compiled
    assert model.get_property("INFERENCE_PRECISION_HINT").to_string() == "f32"
    assert model.get_property("INFERENCE_NUM_THREADS") == 2
    assert model.get_property("ENABLE_CPU_PINNING") is False
    assert model.get_property("NUM_STREAMS") == 1


@needs_bf16
def test_bf16_is_computed_where_it_is_requested(bundle: Bundle) -> None:
    batch = 10 * images(4)
    scores = load(bundle, precision="bf16").predict(batch)
    assert not np.allclose(scores, expected(batch), atol=1e-6)
    assert np.allclose(scores, expected(batch), atol=0.05)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_a_precision_that_the_cpu_has_not_is_refused_with_those_that_it_has(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, precision: str
) -> None:
    class OfAnotherCpu(openvino.Core):  # type: ignore[misc]
        def get_property(self, _device: str, _name: str) -> list[str]:
            return ["WINOGRAD", "FP32", "INT8"]

    monkeypatch.setattr(openvino, "Core", OfAnotherCpu)
    with pytest.raises(PredictorError, match=f"{precision} is requested.* in fp32 on this CPU"):
        load(bundle, precision=precision)


def test_what_it_would_compute_in_another_precision_is_refused(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "FP16" in CAPABILITIES:
        pytest.skip("this CPU computes in fp16")
    monkeypatch.setattr(openvino_runtime, "_check_precision", lambda _core, _precision: None)
    with pytest.raises(PredictorError, match="fp16 is requested, and OpenVINO computes this model"):
        load(bundle, precision="fp16")


@pytest.mark.parametrize(
    ("operator", "domain", "output", "cause"),
    [
        ("ZipMap", "ai.onnx.ml", "map", "value_info"),
        ("Strange", "mine", "tensor", r"No conversion rule found for operations: mine\.Strange"),
    ],
)
def test_an_operator_that_it_has_not_is_named_in_one_line(
    bundle: Bundle, tmp_path: Path, operator: str, domain: str, output: str, cause: str
) -> None:
    helper, types = onnx.helper, onnx.TensorProto
    mean = helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0)
    classes = {"classlabels_int64s": [0, 1, 2]} if operator == "ZipMap" else {}
    last = helper.make_node(operator, ["means"], ["scores"], domain=domain, **classes)
    scores = helper.make_tensor_value_info("scores", types.FLOAT, ["N", 3])
    if output == "map":
        row = helper.make_map_type_proto(
            types.INT64, helper.make_tensor_type_proto(types.FLOAT, None)
        )
        scores = helper.make_value_info("scores", helper.make_sequence_type_proto(row))
    other = with_graph(bundle, tmp_path, network([mean, last], scores))
    with pytest.raises(PredictorError, match=cause) as error:
        load(other)
    text = str(error.value)
    assert "\n" not in text
    assert "/src/" not in text
    assert "set backend to auto" in text


@pytest.mark.parametrize("graph", [b"", b"no graph at all " * 40], ids=["empty", "text"])
def test_a_file_that_is_no_graph_is_refused_without_a_word_of_its_readers(
    bundle: Bundle, tmp_path: Path, capfd: pytest.CaptureFixture[str], graph: bytes
) -> None:
    with pytest.raises(PredictorError) as error:
        load(with_graph(bundle, tmp_path, graph))
    assert "\n" not in str(error.value)
    assert capfd.readouterr() == ("", "")


def test_another_graph_under_the_bundles_names_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    helper, types = onnx.helper, onnx.TensorProto
    mean = helper.make_node("ReduceMean", ["x"], ["means"], axes=[2, 3], keepdims=0)
    other = network([mean], helper.make_tensor_value_info("means", types.FLOAT, ["N", 3]))
    with pytest.raises(PredictorError, match=r"fetch is scores, and the outputs.* are means"):
        load(with_graph(bundle, tmp_path, other))


def test_a_model_of_8_bit_pixels_gets_them(tmp_path: Path, write_onnx: WriteOnnx) -> None:
    (tmp_path / "export").mkdir()
    weights = write_onnx(tmp_path / "export" / "net.onnx", feed_type="UINT8", last=None)
    (tmp_path / "ops.yml").write_text("- ResizeImage: {size: [8, 8]}\n- ToCHWImage:\n")
    (tmp_path / "export" / "labels.txt").write_text("a\nb\nc\n")
    overrides = Overrides(preprocess=str(tmp_path / "ops.yml"), logits=True)
    made = convert(ConvertOptions(tmp_path / "export", tmp_path / "net", overrides))
    scores = load(made).predict(np.full((1, 3, 8, 8), 200, np.float32))
    assert np.allclose(scores, 200 * weights["fc.w"].sum(axis=0) + weights["fc.b"], rtol=1e-5)


def test_its_threads_may_run_on_every_core_of_the_process(bundle: Bundle) -> None:
    """Processes that pin theirs share the first core: two together were no faster than one."""
    predictor = load(bundle, threads=2)
    predictor.predict(images(8))
    cores = os.sched_getaffinity(0)
    threads = [int(task.name) for task in Path("/proc/self/task").iterdir()]
    assert all(os.sched_getaffinity(thread) == cores for thread in threads)


LOADED = """
import json, sys
from pathlib import Path
from bundle import load_bundle
from pipeline.predictors import create_predictor

create_predictor(load_bundle(Path(sys.argv[1])), "openvino")
unneeded = ("openvino_telemetry", "openvino.tools.ovc", "onnx", "onnxruntime", "paddle")
print(json.dumps([name for name in unneeded if name in sys.modules]))
"""


def test_neither_telemetry_nor_another_runtime_is_imported(bundle: Bundle, root: Path) -> None:
    assert answer_of(root, LOADED, str(bundle.path)) == []
