"""Writes a PIR graph as a ProgramDesc (`.pdmodel`), for runtimes that know no inference.json.

Paddle itself translates in the other direction only. Known are the operators that convolutional
classifiers are made of; what comes out is run beside the original before anybody gets it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
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
    results_of,
    understood,
)
from ..reading.program_graph import MESSAGES

# framework.proto: VarType.Type and AttrType.
_LOD_TENSOR, _FEED_MINIBATCH, _FETCH_LIST = 7, 9, 10
_INT, _FLOAT, _STRING, _INTS, _BOOLEAN = 0, 1, 2, 3, 6
_DTYPE_CODES = {name: code for code, name in DTYPES.items()}

# A message of a class made at run time has no static type.
Message = Any
Attributes = dict[str, Any]


class UnknownOperatorError(Exception):
    """The graph holds an operator, or a form of one, that is not translated; says which."""


@dataclass(frozen=True)
class _Rule:
    """How one PIR operator is written.

    Attributes:
        kind: the ProgramDesc's name of the operator.
        inputs: the parameter names of its first operands, in order.
        outputs: those of its first results.
        attributes: PIR's name -> the ProgramDesc's.
        more: attributes from constants among the operands, or that PIR leaves out.
        by_shape: it has a second output, which stores the shape before.
    """

    kind: str
    inputs: tuple[str, ...] = ("X",)
    outputs: tuple[str, ...] = ("Out",)
    attributes: Mapping[str, str] = field(default_factory=dict)
    more: Callable[[_Operands], Attributes] = lambda _: {}
    by_shape: bool = False


class _Operands:
    """The operands of one operator, where they are constants of the graph."""

    def __init__(self, op: Node, constants: Mapping[int, list[float]]) -> None:
        self._op, self._constants = op, constants

    def integers(self, position: int) -> list[int]:
        return [int(number) for number in self._constant(position)]

    def integer(self, position: int) -> int:
        return self.integers(position)[0]

    def number(self, position: int) -> float:
        return float(self._constant(position)[0])

    def _constant(self, position: int) -> list[float]:
        operand = self._op["I"][position]["%"]
        if operand not in self._constants:
            raise UnknownOperatorError(f"{kind_of(self._op)} with a size computed at run time")
        return self._constants[operand]


def _same(*names: str) -> dict[str, str]:
    return {name: name for name in names}


_CONVOLUTION = _same(
    "strides", "paddings", "dilations", "groups", "padding_algorithm", "data_format"
)
_POOLING = _same(
    *("strides", "paddings", "ceil_mode", "exclusive", "data_format", "pooling_type"),
    *("global_pooling", "adaptive", "padding_algorithm"),
)


def _pairwise(kind: str) -> _Rule:
    return _Rule(kind, ("X", "Y"), more=lambda _: {"axis": -1})


_RULES = {
    "add": _pairwise("elementwise_add"),
    "batch_norm": _Rule(
        "batch_norm",
        ("X", "Mean", "Variance", "Scale", "Bias"),
        ("Y", "MeanOut", "VarianceOut", "SavedMean", "SavedVariance"),
        {
            **_same("is_test", "momentum", "epsilon", "use_global_stats", "trainable_statistics"),
            "data_format": "data_layout",
        },
    ),
    "concat": _Rule("concat", more=lambda operands: {"axis": operands.integer(1)}),
    "conv2d": _Rule("conv2d", ("Input", "Filter"), ("Output",), _CONVOLUTION),
    "depthwise_conv2d": _Rule("depthwise_conv2d", ("Input", "Filter"), ("Output",), _CONVOLUTION),
    "dropout": _Rule(
        "dropout",
        attributes={"is_test": "is_test", "mode": "dropout_implementation"},
        more=lambda operands: {"dropout_prob": operands.number(2)},
    ),
    "flatten": _Rule("flatten_contiguous_range", attributes=_same("start_axis", "stop_axis")),
    "hardsigmoid": _Rule("hard_sigmoid", attributes=_same("slope", "offset")),
    "hardswish": _Rule(
        "hard_swish", more=lambda _: {"threshold": 6.0, "scale": 6.0, "offset": 3.0}
    ),
    "leaky_relu": _Rule("leaky_relu", attributes={"negative_slope": "alpha"}),
    "matmul": _Rule(
        "matmul_v2", ("X", "Y"), attributes={"transpose_x": "trans_x", "transpose_y": "trans_y"}
    ),
    "mean": _Rule(
        "reduce_mean",
        attributes={"keepdim": "keep_dim"},
        more=lambda operands: {"dim": operands.integers(1), "reduce_all": False},
    ),
    "multiply": _pairwise("elementwise_mul"),
    "pool2d": _Rule(
        "pool2d", attributes=_POOLING, more=lambda operands: {"ksize": operands.integers(1)}
    ),
    "relu": _Rule("relu"),
    "relu6": _Rule("relu6", more=lambda _: {"threshold": 6.0}),
    "reshape": _Rule(
        "reshape2", more=lambda operands: {"shape": operands.integers(1)}, by_shape=True
    ),
    "scale": _Rule(
        "scale",
        attributes=_same("bias", "bias_after_scale"),
        more=lambda operands: {"scale": operands.number(1)},
    ),
    "sigmoid": _Rule("sigmoid"),
    # the same function by a name that Paddle-Lite knows
    "silu": _Rule("swish", more=lambda _: {"beta": 1.0}),
    "softmax": _Rule("softmax", attributes=_same("axis")),
    "split": _Rule(
        "split", more=lambda o: {"sections": o.integers(1), "num": 0, "axis": o.integer(2)}
    ),
    "split_with_num": _Rule(
        "split",
        attributes=_same("num"),
        more=lambda operands: {"sections": [], "axis": operands.integer(1)},
    ),
    "squeeze": _Rule(
        "squeeze2", more=lambda operands: {"axes": operands.integers(1)}, by_shape=True
    ),
    "swish": _Rule("swish", more=lambda _: {"beta": 1.0}),
    "tanh": _Rule("tanh"),
    "transpose": _Rule("transpose2", attributes={"perm": "axis"}, by_shape=True),
}
_CONSTANTS = ("full", "full_int_array")


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
    with understood(model_file):
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
            elif kind in _CONSTANTS:
                self._constants[results[0]] = _constant(op, kind)
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
        rule = _RULES.get(kind)
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
        attributes = rule.more(_Operands(op, self._constants))
        for name, written in rule.attributes.items():
            attributes[written] = _plain(attribute_of(op, name))
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


def _constant(op: Node, kind: str) -> list[float]:
    value = _plain(attribute_of(op, "value"))
    if kind == "full":
        # the same number everywhere; what is read of it is one, or a few in a row
        shape = _plain(attribute_of(op, "shape")) or [1]
        return [float(value)] * int(shape[0])
    return list(value)


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """An array's items are {"#": type, "D": value}."""
    if isinstance(value, list):
        return [item["D"] if isinstance(item, dict) else item for item in value]
    return value
