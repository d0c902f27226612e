"""Reads `.onnx`: how classifiers from PyTorch, Keras and TensorFlow arrive.

Parameters lie within the file, or, above two gigabytes and in PyTorch's newer exports, in files
beside it ("external data") that the graph names.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipeline.predictors.onnx_library import load_onnxruntime
from pipeline.predictors.onnx_maps import classes_of_map
from pipeline.predictors.onnx_runtime import cause_of

from ..errors import ConversionError
from .activation import SIGMOID, SOFTMAX, Maker, Value, activation_of
from .graph import Graph, GraphTensor
from .graph_file import check_graph_file
from .onnx_data import data_files, every_graph
from .onnx_functions import check_functions
from .onnx_pixels import white_of
from .onnx_values import Values, passed_on

# What is imported while it is read.
PACKAGES = ("onnx", "onnx.inliner", "onnxruntime")
# TensorProto.DataType, by numpy's names; "string" as in the bundle's feed types.
_DTYPES = {
    1: "float32",
    2: "uint8",
    3: "int8",
    5: "int16",
    6: "int32",
    7: "int64",
    8: "string",
    9: "bool",
    10: "float16",
    11: "float64",
    14: "complex64",
    15: "complex128",
    16: "bfloat16",
}
# What scikit-learn's classifiers give as their second output, by `post_transform`.
_POST_TRANSFORMS = {"SOFTMAX": SOFTMAX, "SOFTMAX_ZERO": SOFTMAX, "LOGISTIC": SIGMOID}
# Those whose scores are shares of votes, or probabilities, without a transform.
_VOTING = frozenset({"TreeEnsembleClassifier", "SVMClassifier"})
# Sets of operators that ONNX Runtime brings along.
_STANDARD = ("", "ai.onnx")
_KNOWN_DOMAINS = frozenset({*_STANDARD, "ai.onnx.ml", "com.microsoft"})

# Messages of the onnx package have no static types here.
Message = Any


def read_graph(path: Path) -> Graph:
    """Read inputs, outputs and parameters, and let ONNX Runtime load the model once.

    Raises:
        ConversionError: the file is no ONNX model, is cut off, is newer than the packages here,
            has operators of its own, or its parameters are not beside it.
    """
    model = _load(path)
    _check_operators(path, model)
    files = data_files(path, model.graph)
    opsets = [entry.version for entry in model.opset_import if entry.domain in _STANDARD]
    opset = opsets[0] if opsets else 0
    stored = {tensor.name for tensor in model.graph.initializer}
    feeds = [value for value in model.graph.input if value.name not in stored]
    if not feeds:
        raise ConversionError(f"{path}: has no input; export it again")
    fetches, left_out = _fetches(path, model.graph)
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    graph = Graph(
        feeds=tuple(_tensor(path, value) for value in feeds),
        fetches=fetches,
        parameters=tuple(
            GraphTensor(tensor.name, _DTYPES.get(tensor.data_type, "?"), tuple(tensor.dims))
            for tensor in sorted(model.graph.initializer, key=lambda tensor: str(tensor.name))
        ),
        activations=_activations(model.graph, [value.name for value in fetches]),
        written_by=_producer(model, opset),
        white=white_of(model.graph, feeds[0].name, metadata) if len(feeds) == 1 else None,
        takes_bgr=metadata.get("Image.BitmapPixelFormat", "").startswith("Bgr"),
        left_out=left_out,
        data_files=files,
        metadata=metadata,
    )
    del model  # ONNX Runtime holds another copy
    _check_loads(path, opset)
    return graph


def _load(path: Path) -> Message:
    """Load the model without its external data, its own functions inlined."""
    try:
        import onnx
        import onnx.inliner
        from google.protobuf.message import DecodeError
    except ImportError as error:
        raise ConversionError(
            f"{path}: reading ONNX needs more packages ({error.name}); in the kit's folder:"
            f" {sys.executable} -m pip install -e '.[onnx]'"
        ) from error
    check_graph_file(path)
    try:
        model = onnx.load_model(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ConversionError(
            f"{path}: is no ONNX model, or is cut off; export it again"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise ConversionError(f"{path}: is no ONNX model, or is cut off; export it again")
    if model.functions:
        check_functions(path, model)
        # What PyTorch writes as functions of the model hides the operators that are looked for.
        return onnx.inliner.inline_local_functions(model)
    return model


def _producer(model: Message, opset: int) -> str:
    # tf2onnx writes its commit behind its version, "None" where that is unknown.
    version = model.producer_version.removesuffix(" None")
    name = f"{model.producer_name} {version}".strip()
    return f"{name}, opset {opset}" if name else f"opset {opset}"


def _check_operators(path: Path, model: Message) -> None:
    nodes = [node for part in every_graph(model.graph) for node in part.node]
    own = sorted({f"{n.domain}::{n.op_type}" for n in nodes if n.domain not in _KNOWN_DOMAINS})
    if own:
        raise ConversionError(
            f"{path}: has operators of its own ({', '.join(own[:3])}), which no runtime here knows;"
            " export it with standard ONNX operators"
        )


def _fetches(path: Path, graph: Message) -> tuple[tuple[GraphTensor, ...], tuple[str, ...]]:
    """The outputs that are tensors or maps of scores, and what the others are."""
    fetches: list[GraphTensor] = []
    left_out: list[str] = []
    for value in graph.output:
        kind = value.type.WhichOneof("value")
        classes = classes_of_map(graph, value.name) if kind == "sequence_type" else ()
        if classes:
            names = tuple(str(name) for name in classes)
            fetches.append(GraphTensor(value.name, "float32", (-1, len(names)), classes=names))
        elif kind == "tensor_type":
            fetches.append(_tensor(path, value))
        else:
            left_out.append(f"{value.name!r} ({str(kind).removesuffix('_type')})")
    if not fetches:
        raise ConversionError(
            f"{path}: gives {', '.join(left_out)}, and no tensor; export it with its scores as one"
        )
    return tuple(fetches), tuple(left_out)


def _tensor(path: Path, value: Message) -> GraphTensor:
    form = value.type.WhichOneof("value")
    if form != "tensor_type":
        raise ConversionError(
            f"{path}: {value.name!r} is a {str(form).removesuffix('_type')}, and no tensor, which"
            " images are fed as; export a classifier of images"
        )
    kind = value.type.tensor_type
    if kind.elem_type not in _DTYPES:
        raise ConversionError(
            f"{path}: {value.name!r} is of a type that no classifier uses (ONNX element type"
            f" {kind.elem_type}); export it with float32, or uint8"
        )
    # A named or missing dimension is open.
    shape = tuple(dim.dim_value if dim.dim_value > 0 else -1 for dim in kind.shape.dim)
    return GraphTensor(name=value.name, dtype=_DTYPES[kind.elem_type], shape=shape)


def _activations(graph: Message, fetches: Sequence[str]) -> tuple[str, ...]:
    nodes = {output: node for node in graph.node for output in node.output}
    values = Values(graph)

    def maker_of(value: Value) -> Maker | None:
        node = nodes.get(value)
        if node is None:
            return None
        # paddle2onnx writes a scale by 1 so, and a softmax stands before it
        passed = passed_on(values, node)
        return _maker(node, str(value)) if passed is None else Maker("Identity", (passed,))

    return tuple(activation_of(name, maker_of) for name in fetches)


def _maker(node: Message, value: str) -> Maker:
    attributes = {attribute.name: attribute for attribute in node.attribute}
    axis = attributes.get("axis")
    gives = None
    if node.domain == "ai.onnx.ml" and "post_transform" in attributes:
        gives = "none"
        if list(node.output).index(value) == len(node.output) - 1:
            transform = attributes["post_transform"].s.decode(errors="replace")
            voting = node.op_type in _VOTING and transform == "NONE"
            gives = SOFTMAX if voting else _POST_TRANSFORMS.get(transform, "none")
    elif node.op_type == "Normalizer" and attributes["norm"].s != b"L1":
        gives = "none"
    return Maker(
        kind=str(node.op_type),
        inputs=tuple(node.input),
        over_batch=axis is not None and axis.i == 0,
        gives=gives,
    )


def _check_loads(path: Path, opset: int) -> None:
    try:
        onnxruntime = load_onnxruntime()
    except ImportError as error:
        raise ConversionError(
            f"{path}: serving ONNX needs the package onnxruntime; in the kit's folder:"
            f" {sys.executable} -m pip install -e '.[onnx]'"
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        cause = cause_of(error)
        if "opset versions" in cause:
            cause = f"its opset {opset} is newer"
        newer = "newer" in cause or "IR version" in cause
        advice = "pip install -U onnxruntime, or export with an older opset" if newer else ""
        raise ConversionError(
            f"{path}: ONNX Runtime {onnxruntime.__version__} cannot load it: {cause};"
            f" {advice or 'export it again'}"
        ) from error
