"""Reads Paddle 3's `inference.json`: a serialised PIR program, which is plain JSON.

Each operator is {"#": name, "A": attributes, "I": operands, "O": results}; "p" is a parameter,
whose name ends its positional attributes. Dialects are numbered: "0." builtin, "1." pd_op.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..errors import ConversionError
from .activation import Maker, Value, activation_of
from .graph import Graph, GraphTensor
from .graph_file import check_graph_file

_DTYPES = {
    "t_bool": "bool",
    "t_i8": "int8",
    "t_ui8": "uint8",
    "t_i16": "int16",
    "t_i32": "int32",
    "t_i64": "int64",
    "t_f16": "float16",
    "t_bf16": "bfloat16",
    "t_f32": "float32",
    "t_f64": "float64",
    "t_c64": "complex64",
    "t_c128": "complex128",
}

# The newest format of PIR files that Paddle 3.3 reads.
_NEWEST_VERSION = 4

# One node of the JSON document.
Node = dict[str, Any]


def read_graph(path: Path) -> Graph:
    """Read the inputs, outputs and parameters of a PIR program.

    Raises:
        ConversionError: the file is not JSON, no PIR program, or holds no inference graph.
    """
    document = _load(path)
    with reported_as_damage(path):
        version = document["base_code"].get("version", 1)
        return replace(_graph(path, _operators(document)), written_by=f"format {version}")


def read_operators(path: Path) -> list[Node]:
    """The operators of a PIR program, in the order in which they run.

    Raises:
        ConversionError: the file is not JSON, or no PIR program.
    """
    document = _load(path)
    with reported_as_damage(path):
        return _operators(document)


def _operators(document: Node) -> list[Node]:
    ops: list[Node] = document["program"]["regions"][0]["blocks"][0]["ops"]
    return ops


def _load(path: Path) -> Node:
    """The document, once it is known to be a PIR program of a format that is read."""
    check_graph_file(path)
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ConversionError(
            f"{path}: is not JSON, or is cut off ({error}); export the model again"
        ) from error
    with reported_as_damage(path):
        if document["base_code"]["magic"] != "pir":
            raise KeyError("magic")
        _check_version(path, document["base_code"].get("version", 1))
    content: Node = document
    return content


@contextmanager
def reported_as_damage(path: Path) -> Iterator[None]:
    """Within it, JSON of another form than a PIR program's is an error of the file."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, RuntimeError) as error:
        raise ConversionError(
            f"{path}: is no Paddle graph that can be read here ({error!r} is not as expected);"
            " export it again with Paddle 3.x"
        ) from error


def _check_version(path: Path, version: object) -> None:
    if not isinstance(version, int):
        raise ConversionError(
            f"{path}: its PIR format is {version!r} and no number; export the model again"
        )
    if version > _NEWEST_VERSION:
        raise ConversionError(
            f"{path}: is of PIR format {version}, and this kit and Paddle 3.3 read up to"
            f" {_NEWEST_VERSION}; export it with Paddle 3.3 or older, or update the kit"
        )


def _graph(path: Path, ops: list[Node]) -> Graph:
    makers = {result["%"]: op for op in ops for result in results_of(op)}
    inputs = [op for op in ops if kind_of(op) in ("data", "feed") and not is_persistable(op)]
    outputs = sorted(
        (op for op in ops if kind_of(op) == "fetch"),
        key=lambda op: int(attribute_of(op, "col") or 0),
    )
    if not inputs or not outputs:
        raise ConversionError(
            f"{path}: has no {'input' if not inputs else 'output'}; export it for inference with"
            " paddle.jit.save"
        )
    # Buffers that are saved without being parameters are persistable inputs.
    stored = [(op["A"][-1], op) for op in ops if op["#"] == "p"]
    stored += [(attribute_of(op, "name"), op) for op in ops if is_persistable(op)]
    return Graph(
        feeds=tuple(_tensor(path, attribute_of(op, "name"), op) for op in inputs),
        fetches=tuple(_tensor(path, attribute_of(op, "name"), op) for op in outputs),
        parameters=tuple(
            _tensor(path, name, op) for name, op in sorted(stored, key=lambda pair: pair[0])
        ),
        activations=_activations(outputs, makers),
    )


def kind_of(op: Node) -> str:
    """The operator's name without its dialect: "1.softmax" -> "softmax"."""
    return str(op["#"]).rpartition(".")[2]


def results_of(op: Node) -> Iterator[Node]:
    """The values that an operator gives."""
    results = op.get("O", [])
    yield from [results] if isinstance(results, dict) else results


def attribute_of(op: Node, name: str) -> Any:  # noqa: ANN401 - whatever JSON holds
    """The value of a named attribute, or None."""
    for attribute in op["A"]:
        if attribute["N"] == name:
            return attribute["AT"]["D"]
    return None


def is_persistable(op: Node) -> bool:
    """Whether an input is a stored buffer, and none of the caller's."""
    if kind_of(op) != "data":
        return False
    for attribute in op.get("OA", []):
        if isinstance(attribute, dict) and attribute["N"] == "persistable":
            return any(flag["D"] for flag in attribute["AT"]["D"])
    return False


def _tensor(path: Path, name: str, op: Node) -> GraphTensor:
    first, *_ = results_of(op)
    element, shape = first["TT"]["D"][:2]
    if not isinstance(name, str) or not all(isinstance(dim, int) for dim in shape):
        raise TypeError(f"the tensor {name!r} of {shape!r}")
    dtype = _DTYPES.get(str(element["#"]).rpartition(".")[2])
    if dtype is None:
        raise ConversionError(
            f"{path}: {name!r} has the element type {element['#']}, which no classifier uses"
        )
    return GraphTensor(name=name, dtype=dtype, shape=tuple(shape))


def _activations(fetches: list[Node], ops: dict[int, Node]) -> tuple[str, ...]:
    def maker_of(value: Value) -> Maker | None:
        op = ops.get(value) if isinstance(value, int) else None
        return None if op is None else _maker(op, ops)

    operands = [_operands(fetch) for fetch in fetches]
    return tuple(activation_of(values[0] if values else None, maker_of) for values in operands)


def _operands(op: Node) -> tuple[int, ...]:
    return tuple(operand["%"] for operand in op.get("I", []))


def _maker(op: Node, ops: dict[int, Node]) -> Maker:
    kind, operands, scale = kind_of(op), _operands(op), None
    if kind in ("scale", "scale_"):
        factor = ops.get(operands[1]) if len(operands) > 1 else None
        number = attribute_of(factor, "value") if factor is not None else None
        scale = (
            (float("nan") if number is None else float(number)),
            float(attribute_of(op, "bias") or 0),
        )
    return Maker(
        kind=kind,
        inputs=operands,
        over_batch="softmax" in kind and attribute_of(op, "axis") == 0,
        scale=scale,
    )
