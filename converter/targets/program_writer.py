"""Writes a PIR graph as a ProgramDesc (`.pdmodel`), for runtimes that know no inference.json.

Paddle itself translates in the other direction only. A model can be exported once more without PIR
(FLAGS_enable_pir_api=0) by those who have its code and weights; PaddleX 3's official models come as
an inference.json alone, and Paddle 3.3 fails at argmax, sum or gelu that way. The result is run
beside the original before it is handed out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bundle.parameter_file import DTYPES

from ..reading.graph import Graph
from ..reading.pir_graph import (
    Node,
    attribute_of,
    is_persistable,
    kind_of,
    read_operators,
    reported_as_damage,
    results_of,
)
from ..reading.program_graph import MESSAGES
from .program_operators import CONSTANTS, RULES, Operands, UnknownOperatorError, constant_of, plain

# framework.proto: VarType.Type and AttrType.
_LOD_TENSOR, _FEED_MINIBATCH, _FETCH_LIST = 7, 9, 10
_INT, _FLOAT, _STRING, _INTS, _BOOLEAN = 0, 1, 2, 3, 6
_DTYPE_CODES = {name: code for code, name in DTYPES.items()}

# A message of a class made at run time has no static type.
Message = Any


def write_program(model_file: Path, graph: Graph, target: Path) -> None:
    """Translate an inference.json; its parameter file fits the result as it is.

    Args:
        model_file: the inference.json.
        graph: what was read from it.
        target: the .pdmodel to be written.

    Raises:
        UnknownOperatorError: the graph holds what is not translated.
        ConversionError: the file is no PIR program.
    """
    program = MESSAGES["ProgramDesc"]()
    program.version.version = 0
    block = program.blocks.add(idx=0, parent_idx=-1)
    for name, kind in (("feed", _FEED_MINIBATCH), ("fetch", _FETCH_LIST)):
        block.vars.add(name=name, persistable=True).type.type = kind
    for parameter in graph.parameters:
        _add_variable(block, parameter.name, parameter.dtype, parameter.shape, persistable=True)
    operators = read_operators(model_file)
    with reported_as_damage(model_file):
        _Translation(block, graph).translate(operators)
    target.write_bytes(program.SerializeToString())


class _Translation:
    """Walks through the operators; every value of PIR becomes a variable."""

    def __init__(self, block: Message, graph: Graph) -> None:
        self._block, self._graph = block, graph
        self._names: dict[int, list[str]] = {}  # of a value: one, or those it bundles
        self._constants: dict[int, list[float]] = {}
        self._feeds = 0

    def translate(self, operators: Sequence[Node]) -> None:
        for op in operators:
            kind = kind_of(op)
            results = [result["%"] for result in results_of(op)]
            if op["#"] == "p":
                self._names[results[0]] = [op["A"][-1]]
            elif kind in ("data", "feed"):
                self._names[results[0]] = [self._input(op)]
            elif kind in CONSTANTS:
                self._constants[results[0]] = constant_of(op, kind)
            elif op["#"] == "0.combine":
                self._names[results[0]] = [n for i in op["I"] for n in self._names[i["%"]]]
            elif op["#"] == "0.split":
                for result, name in zip(results, self._names[op["I"][0]["%"]], strict=True):
                    self._names[result] = [name]
            elif kind == "fetch":
                (name,) = self._names[op["I"][0]["%"]]
                column = {"col": int(attribute_of(op, "col") or 0)}
                self._add("fetch", {"X": [name]}, {"Out": ["fetch"]}, column)
            else:
                self._translate(op, kind.rstrip("_"))

    def _input(self, op: Node) -> str:
        name = str(attribute_of(op, "name"))
        if not is_persistable(op):
            (feed,) = (feed for feed in self._graph.feeds if feed.name == name)
            _add_variable(self._block, name, feed.dtype, feed.shape)
            self._add("feed", {"X": ["feed"]}, {"Out": [name]}, {"col": self._feeds})
            self._feeds += 1
        return name

    def _translate(self, op: Node, kind: str) -> None:
        rule = RULES.get(kind)
        if rule is None:
            raise UnknownOperatorError(kind)
        inputs: dict[str, list[str]] = {}
        for parameter, operand in zip(rule.inputs, op["I"], strict=False):
            if operand["%"] not in self._names:
                raise UnknownOperatorError(f"{kind} of a constant")
            inputs[parameter] = self._names[operand["%"]]
        outputs = {}
        for parameter, result in zip(rule.outputs, results_of(op), strict=False):
            outputs[parameter] = self._names[result["%"]] = self._outputs(result, inputs, parameter)
        if rule.by_shape:
            extra = f"{outputs['Out'][0]}.shape"
            _add_variable(self._block, extra, "int64", (0,))
            outputs["XShape"] = [extra]
        attributes = rule.more(Operands(op, self._constants))
        for name, written in rule.attributes.items():
            attributes[written] = plain(attribute_of(op, name))
        self._add(rule.kind, inputs, outputs, attributes)

    def _outputs(self, result: Node, inputs: Mapping[str, list[str]], parameter: str) -> list[str]:
        """Variables for a result, made here; running statistics stay in their own."""
        if parameter in ("MeanOut", "VarianceOut"):
            return inputs[parameter.removesuffix("Out")]
        kind, content = result["TT"]["#"], result["TT"]["D"]
        tensors = [item["D"] for item in content] if kind.endswith("t_vec") else [content]
        names = []
        for number, (_, shape, *_) in enumerate(tensors):
            names.append(f"value_{result['%']}.{number}")
            _add_variable(self._block, names[-1], "float32", shape)
        return names

    def _add(
        self,
        kind: str,
        inputs: Mapping[str, Sequence[str]],
        outputs: Mapping[str, Sequence[str]],
        attributes: Mapping[str, Any],
    ) -> None:
        op = self._block.ops.add(type=kind)
        for parameter, names in inputs.items():
            op.inputs.add(parameter=parameter, arguments=names)
        for parameter, names in outputs.items():
            op.outputs.add(parameter=parameter, arguments=names)
        for name, value in sorted(attributes.items()):
            _add_attribute(op, name, value)


def _add_variable(
    block: Message, name: str, dtype: str, shape: Sequence[int], *, persistable: bool = False
) -> None:
    variable = block.vars.add(name=name, persistable=persistable)
    variable.type.type = _LOD_TENSOR
    variable.type.lod_tensor.lod_level = 0
    variable.type.lod_tensor.tensor.data_type = _DTYPE_CODES[dtype]
    variable.type.lod_tensor.tensor.dims.extend(shape)


def _add_attribute(op: Message, name: str, value: bool | int | float | str | list[int]) -> None:
    # bool before int, for it is one
    if isinstance(value, bool):
        op.attrs.add(name=name, type=_BOOLEAN, b=value)
    elif isinstance(value, int):
        op.attrs.add(name=name, type=_INT, i=value)
    elif isinstance(value, float):
        op.attrs.add(name=name, type=_FLOAT, f=value)
    elif isinstance(value, str):
        op.attrs.add(name=name, type=_STRING, s=value)
    else:
        op.attrs.add(name=name, type=_INTS, ints=value)
