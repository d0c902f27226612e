"""The files beside an ONNX model that hold parameters ("external data"): found and measured."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..errors import ConversionError
from .graph_file import inside, within

_EXTERNAL = 1  # TensorProto.DataLocation
# Bytes of one element, by TensorProto.DataType; of others the length says it.
_ITEM_BYTES = {1: 4, 2: 1, 3: 1, 5: 2, 6: 4, 7: 8, 9: 1, 10: 2, 11: 8, 16: 2}

# Messages of the onnx package have no static types here.
Message = Any


def every_graph(graph: Message) -> Iterator[Message]:
    """The graph, and those within its loops and branches."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            inner = [attribute.g] if attribute.HasField("g") else list(attribute.graphs)
            for branch in inner:
                yield from every_graph(branch)


def data_files(path: Path, graph: Message) -> tuple[Path, ...]:
    """Return the files that hold parameters, each as long as the graph wants it.

    Args:
        path: the model's file.
        graph: its graph.

    Raises:
        ConversionError: a file is missing, truncated, or outside the model's folder.
    """
    ends: dict[str, int] = {}
    for tensor in _tensors(graph):
        if tensor.data_location == _EXTERNAL:
            location, end = _place(path, tensor)
            ends[location] = max(end, ends.get(location, 0))
    files = []
    for location, end in sorted(ends.items()):
        file = path.parent / location
        if not inside(location) or not within(file, path.parent):
            raise ConversionError(
                f"{path}: names a parameter file outside its folder: {location!r}; copy it there"
            )
        if not file.is_file():
            raise ConversionError(
                f"{file}: the parameter file is missing; copy it beside {path.name}"
            )
        if file.stat().st_size < end:
            raise ConversionError(
                f"{file}: is truncated: {file.stat().st_size} bytes, at least {end} needed; copy or"
                " export it again"
            )
        files.append(file)
    return tuple(files)


def _tensors(graph: Message) -> Iterator[Message]:
    """Parameters, and constants that operators hold."""
    for part in every_graph(graph):
        yield from part.initializer
        for node in part.node:
            for attribute in node.attribute:
                yield from [attribute.t] if attribute.HasField("t") else attribute.tensors


def _place(path: Path, tensor: Message) -> tuple[str, int]:
    """The file of one tensor, and the offset of the byte behind it."""
    facts = {entry.key: entry.value for entry in tensor.external_data}
    try:
        offset = int(facts.get("offset") or 0)
        length = int(facts.get("length") or 0)
    except ValueError:
        offset = length = -1
    if offset < 0 or length < 0:
        raise ConversionError(
            f"{path}: is damaged: the place of {tensor.name!r} in its file is no number; export it"
            " again"
        )
    if not length:
        length = math.prod(tensor.dims) * _ITEM_BYTES.get(tensor.data_type, 0)
    return facts.get("location", ""), offset + length
