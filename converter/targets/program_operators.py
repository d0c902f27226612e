"""How each PIR operator is written as an operator of a ProgramDesc: a rule a kind.

Known are the operators that convolutional classifiers are made of.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..reading.pir_graph import Node, attribute_of, kind_of

Attributes = dict[str, Any]


class UnknownOperatorError(Exception):
    """The graph holds an operator, or a form of one, that is not translated; says which."""


@dataclass(frozen=True)
class Rule:
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
    more: Callable[[Operands], Attributes] = lambda _: {}
    by_shape: bool = False


class Operands:
    """The operands of one operator, where they are constants of the graph."""

    def __init__(self, op: Node, constants: Mapping[int, list[float]]) -> None:
        self._op, self._constants = op, constants

    def integers(self, position: int) -> list[int]:
        """The numbers of an array, such as a shape."""
        return [int(number) for number in self._constant(position)]

    def integer(self, position: int) -> int:
        """One whole number, such as an axis."""
        return self.integers(position)[0]

    def number(self, position: int) -> float:
        """One number, such as a factor."""
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


def _pairwise(kind: str) -> Rule:
    return Rule(kind, ("X", "Y"), more=lambda _: {"axis": -1})


RULES = {
    "add": _pairwise("elementwise_add"),
    "batch_norm": Rule(
        "batch_norm",
        ("X", "Mean", "Variance", "Scale", "Bias"),
        ("Y", "MeanOut", "VarianceOut", "SavedMean", "SavedVariance"),
        {
            **_same("is_test", "momentum", "epsilon", "use_global_stats", "trainable_statistics"),
            "data_format": "data_layout",
        },
    ),
    "concat": Rule("concat", more=lambda operands: {"axis": operands.integer(1)}),
    "conv2d": Rule("conv2d", ("Input", "Filter"), ("Output",), _CONVOLUTION),
    "depthwise_conv2d": Rule("depthwise_conv2d", ("Input", "Filter"), ("Output",), _CONVOLUTION),
    "dropout": Rule(
        "dropout",
        attributes={"is_test": "is_test", "mode": "dropout_implementation"},
        more=lambda operands: {"dropout_prob": operands.number(2)},
    ),
    "flatten": Rule("flatten_contiguous_range", attributes=_same("start_axis", "stop_axis")),
    "hardsigmoid": Rule("hard_sigmoid", attributes=_same("slope", "offset")),
    "hardswish": Rule("hard_swish", more=lambda _: {"threshold": 6.0, "scale": 6.0, "offset": 3.0}),
    "leaky_relu": Rule("leaky_relu", attributes={"negative_slope": "alpha"}),
    "matmul": Rule(
        "matmul_v2", ("X", "Y"), attributes={"transpose_x": "trans_x", "transpose_y": "trans_y"}
    ),
    "mean": Rule(
        "reduce_mean",
        attributes={"keepdim": "keep_dim"},
        more=lambda operands: {"dim": operands.integers(1), "reduce_all": False},
    ),
    "multiply": _pairwise("elementwise_mul"),
    "pool2d": Rule(
        "pool2d", attributes=_POOLING, more=lambda operands: {"ksize": operands.integers(1)}
    ),
    "relu": Rule("relu"),
    "relu6": Rule("relu6", more=lambda _: {"threshold": 6.0}),
    "reshape": Rule(
        "reshape2", more=lambda operands: {"shape": operands.integers(1)}, by_shape=True
    ),
    "scale": Rule(
        "scale",
        attributes=_same("bias", "bias_after_scale"),
        more=lambda operands: {"scale": operands.number(1)},
    ),
    "sigmoid": Rule("sigmoid"),
    # the same function by a name that Paddle-Lite knows
    "silu": Rule("swish", more=lambda _: {"beta": 1.0}),
    "softmax": Rule("softmax", attributes=_same("axis")),
    "split": Rule(
        "split", more=lambda o: {"sections": o.integers(1), "num": 0, "axis": o.integer(2)}
    ),
    "split_with_num": Rule(
        "split",
        attributes=_same("num"),
        more=lambda operands: {"sections": [], "axis": operands.integer(1)},
    ),
    "squeeze": Rule(
        "squeeze2", more=lambda operands: {"axes": operands.integers(1)}, by_shape=True
    ),
    "swish": Rule("swish", more=lambda _: {"beta": 1.0}),
    "tanh": Rule("tanh"),
    "transpose": Rule("transpose2", attributes={"perm": "axis"}, by_shape=True),
}
CONSTANTS = ("full", "full_int_array")


def constant_of(op: Node, kind: str) -> list[float]:
    """The numbers that an operator of CONSTANTS gives."""
    value = plain(attribute_of(op, "value"))
    if kind == "full":
        # the same number everywhere; what is read of it is one, or a few in a row
        shape = plain(attribute_of(op, "shape")) or [1]
        return [float(value)] * int(shape[0])
    return list(value)


def plain(value: Any) -> Any:  # noqa: ANN401 - whatever JSON holds
    """An attribute's value in Python's own types; PIR writes arrays of {"#": type, "D": value}."""
    if isinstance(value, list):
        return [item["D"] if isinstance(item, dict) else item for item in value]
    return value
