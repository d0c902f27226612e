"""Functions that an ONNX model brings along: what they come to once they are written out.

onnx.inliner copies the operators of a function to each place that calls it. A kilobyte of functions
that call each other ten times each comes to gigabytes, and one that calls itself never ends: the
operators are counted before.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ..errors import ConversionError
from .onnx_data import every_graph

# The largest classifiers have some thousand.
MAX_OPERATORS = 200_000
MAX_CALLS = 64  # deep; PyTorch's modules come to ten or so

# Messages of the onnx package have no static types here.
Message = Any
Key = tuple[str, str]


def check_functions(path: Path, model: Message) -> None:
    """Check that the model's functions can be written out.

    Raises:
        ConversionError: one calls itself, calls are too deep, or they come to too many operators.
    """
    _Sizes(path, model).of(_nodes(every_graph(model.graph)), 0)


class _Sizes:
    """Operators of functions with all that they call; each function is counted once."""

    def __init__(self, path: Path, model: Message) -> None:
        self._path = path
        self._functions: dict[Key, list[Message]] = {}
        for function in model.functions:  # overloads of a name count as one
            self._functions.setdefault((function.domain, function.name), []).append(function)
        self._known: dict[Key, int] = {}
        self._open: set[Key] = set()

    def of(self, nodes: Iterable[Message], depth: int) -> int:
        if depth > MAX_CALLS:
            raise self._refused(f"call each other more than {MAX_CALLS} deep")
        count = 0
        for node in nodes:
            count += self._called((node.domain, node.op_type), depth)
            if count > MAX_OPERATORS:
                raise self._refused(f"come to more than {MAX_OPERATORS} operators")
        return count

    def _called(self, key: Key, depth: int) -> int:
        if key not in self._functions:
            return 1
        if key in self._open:
            raise self._refused(f"call themselves ({'::'.join(filter(None, key))})")
        if key not in self._known:
            self._open.add(key)
            inner = (node for function in self._functions[key] for node in _of_function(function))
            self._known[key] = self.of(inner, depth + 1)
            self._open.discard(key)
        return self._known[key]

    def _refused(self, what: str) -> ConversionError:
        return ConversionError(
            f"{self._path}: its functions {what}, as no exporter writes them: it is damaged, or"
            " made to do harm; do not serve it, and export the model again"
        )


def _of_function(function: Message) -> Iterator[Message]:
    # a function holds operators as a graph does, and theirs may hold graphs
    return _nodes(every_graph(function))


def _nodes(graphs: Iterable[Message]) -> Iterator[Message]:
    for graph in graphs:
        yield from graph.node
