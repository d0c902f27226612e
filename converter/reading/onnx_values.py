"""The values of an ONNX graph: who takes each, and which of them are constants."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

_MOST_NUMBERS = 1024  # of a constant that is looked at
# What leaves every number as it is: the operator, the number, and whether it may stand first.
_NEUTRAL = {"Mul": (1, True), "Add": (0, True), "Sub": (0, False), "Div": (1, False)}

# Messages of the onnx package have no static types here.
Message = Any


class Values:
    """Who takes each value of a graph, and which of them are constants; the graph is read once."""

    def __init__(self, graph: Message) -> None:
        self.takers: dict[str, dict[int, Message]] = {}
        self.tensors: dict[str, list[Message]] = {}
        for tensor in graph.initializer:
            self.tensors.setdefault(tensor.name, []).append(tensor)
        for position, node in enumerate(graph.node):
            for name in node.input:
                self.takers.setdefault(name, {})[position] = node
            if node.op_type == "Constant":
                values = [attribute.t for attribute in node.attribute if attribute.name == "value"]
                for name in node.output:
                    self.tensors.setdefault(name, []).extend(values)


def constants(graph: Values, node: Message) -> Iterator[np.ndarray]:
    """Yield the constants that a node takes, those of few numbers, as float64."""
    for name in node.input:
        yield from _numbers(graph, name)


def _numbers(graph: Values, name: str) -> Iterator[np.ndarray]:
    from onnx import TensorProto, numpy_helper

    for tensor in graph.tensors.get(name, ()):
        count = math.prod(tensor.dims)
        inside = tensor.data_location != TensorProto.EXTERNAL
        if inside and 0 < count <= _MOST_NUMBERS:
            yield np.asarray(numpy_helper.to_array(tensor), np.float64)


def passed_on(graph: Values, node: Message) -> str | None:
    """Return the input whose numbers a node leaves as they are, times 1 or plus 0; else None."""
    number, anywhere = _NEUTRAL.get(node.op_type, (0, False))
    if node.op_type not in _NEUTRAL or len(node.input) != 2:
        return None
    first, second = node.input
    pairs = [(second, first), (first, second)] if anywhere else [(second, first)]
    for constant, other in pairs:
        values = list(_numbers(graph, constant))
        if len(values) == 1 and values[0].size == 1 and values[0].item() == number:
            return str(other)
    return None
