"""Reads `.pdmodel` and `__model__`: a ProgramDesc of Paddle's framework.proto, without Paddle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from google.protobuf.message import DecodeError

from bundle.dynamic_messages import Field, build_messages
from bundle.parameter_file import DTYPES

from ..errors import ConversionError
from .activation import Maker, Value, activation_of
from .graph import Graph, GraphTensor
from .graph_file import check_graph_file

# framework.proto's VarType.Type of a variable that holds a dense tensor.
_LOD_TENSOR = 7

# Only the fields that are read here or written by program_writer; the rest is skipped.
MESSAGES = build_messages(
    "paddle.framework.proto",
    {
        "Attr": {
            "name": Field(1, "string"),
            "type": Field(2, "int32"),
            "i": Field(3, "int32"),
            "f": Field(4, "float"),
            "s": Field(5, "string"),
            "ints": Field(6, "int32", repeated=True),
            "b": Field(10, "bool"),
            "l": Field(13, "int64"),
        },
        "OpVar": {
            "parameter": Field(1, "string"),
            "arguments": Field(2, "string", repeated=True),
        },
        "OpDesc": {
            "inputs": Field(1, "OpVar", repeated=True),
            "outputs": Field(2, "OpVar", repeated=True),
            "type": Field(3, "string"),
            "attrs": Field(4, "Attr", repeated=True),
        },
        "TensorDesc": {
            "data_type": Field(1, "int32"),
            "dims": Field(2, "int64", repeated=True),
        },
        "LoDTensorDesc": {
            "tensor": Field(1, "TensorDesc"),
            "lod_level": Field(2, "int32"),
        },
        "VarType": {
            "type": Field(1, "int32"),
            "lod_tensor": Field(3, "LoDTensorDesc"),
        },
        "VarDesc": {
            "name": Field(1, "string"),
            "type": Field(2, "VarType"),
            "persistable": Field(3, "bool"),
        },
        "BlockDesc": {
            "idx": Field(1, "int32"),
            "parent_idx": Field(2, "int32"),
            "vars": Field(3, "VarDesc", repeated=True),
            "ops": Field(4, "OpDesc", repeated=True),
        },
        "Version": {"version": Field(1, "int64")},
        "ProgramDesc": {
            "blocks": Field(1, "BlockDesc", repeated=True),
            "version": Field(4, "Version"),
        },
    },
)

# A message of a class made at run time has no static type.
Message = Any


def read_graph(path: Path) -> Graph:
    """Read the inputs, outputs and parameters of a ProgramDesc file.

    Raises:
        ConversionError: the file is no ProgramDesc, is cut off, or holds no inference graph.
    """
    check_graph_file(path)
    program = MESSAGES["ProgramDesc"]()
    try:
        program.ParseFromString(path.read_bytes())
    except DecodeError as error:
        raise ConversionError(
            f"{path}: is no Paddle graph, or is cut off; export the model again"
        ) from error
    if not program.blocks or not program.blocks[0].ops:
        raise ConversionError(f"{path}: holds no operators; export the model again")
    block = program.blocks[0]
    variables = {var.name: var for var in block.vars}
    if not all(isinstance(name, str) for name in variables):
        # protobuf hands out bytes where a name is no UTF-8
        raise ConversionError(f"{path}: is damaged: a name in it is no text; copy it again")
    feeds = _ends(block, "feed", "outputs", "Out")
    fetches = _ends(block, "fetch", "inputs", "X")
    if not feeds or not fetches:
        raise ConversionError(
            f"{path}: has no {'input' if not feeds else 'output'}; it is a training graph, or not"
            " exported for inference (paddle.jit.save or save_inference_model)"
        )
    for name in (*feeds, *fetches):
        if name not in variables:
            raise ConversionError(f"{path}: the graph does not describe {name!r}; export again")
    return Graph(
        feeds=tuple(_tensor(path, variables[name]) for name in feeds),
        fetches=tuple(_tensor(path, variables[name]) for name in fetches),
        parameters=tuple(
            _tensor(path, variables[name])
            for name in sorted(variables)
            if variables[name].persistable and variables[name].type.type == _LOD_TENSOR
        ),
        activations=_activations(block, fetches),
        written_by=_version(program.version.version),
    )


def _version(number: int) -> str:
    """2006002 -> "Paddle 2.6.2"; builds that are no release write 0."""
    if number <= 0:
        return ""
    return f"Paddle {number // 1_000_000}.{number // 1000 % 1000}.{number % 1000}"


def _ends(block: Message, op_type: str, side: str, parameter: str) -> list[str]:
    """Names of what the feed or fetch operators carry, by their column."""
    columns: dict[int, str] = {}
    for op in block.ops:
        if op.type == op_type:
            names = [n for v in getattr(op, side) if v.parameter == parameter for n in v.arguments]
            column = next((attr.i for attr in op.attrs if attr.name == "col"), len(columns))
            columns[column] = names[0] if names else ""
    return [columns[column] for column in sorted(columns)]


def _tensor(path: Path, var: Message) -> GraphTensor:
    desc = var.type.lod_tensor
    if desc.tensor.data_type not in DTYPES:
        raise ConversionError(
            f"{path}: {var.name!r} has the element type {desc.tensor.data_type}, which no"
            " classifier uses"
        )
    return GraphTensor(
        name=var.name,
        dtype=DTYPES[desc.tensor.data_type],
        shape=tuple(desc.tensor.dims),
        is_lod=desc.lod_level > 0,
    )


def _activations(block: Message, fetches: list[str]) -> tuple[str, ...]:
    ops = {n: op for op in block.ops if op.type != "feed" for v in op.outputs for n in v.arguments}

    def maker_of(value: Value) -> Maker | None:
        op = ops.get(value)
        return None if op is None else _maker(op)

    return tuple(activation_of(name, maker_of) for name in fetches)


# Parameters of an operator that it works on; the others say how.
_OPERANDS = {"X": 0, "Input": 0, "Y": 1}


def _maker(op: Message) -> Maker:
    attributes = {attr.name: attr for attr in op.attrs}
    operands = sorted(op.inputs, key=lambda var: _OPERANDS.get(var.parameter, 2))
    axis, scale = attributes.get("axis"), None
    if op.type == "scale":
        # save_inference_model of Paddle 1.x ends every graph with scale(x, 1)
        factors = {name: float(attr.f) for name, attr in attributes.items()}
        scale = factors.get("scale", 1.0), factors.get("bias", 0.0)
    return Maker(
        kind=str(op.type),
        inputs=tuple(name for var in operands for name in var.arguments),
        over_batch=op.type in ("softmax", "log_softmax") and axis is not None and axis.i == 0,
        scale=scale,
    )
