"""Graphs as JSON, in which the process that reads them hands them over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .graph import Graph, GraphTensor
from .graph_file import inside, within

_LARGEST_RANK = 64  # numpy's own


def to_json(graph: Graph, folder: Path) -> str:
    """The graph as a line of ASCII; `folder` is the one that its file lies in."""
    return json.dumps(
        {
            "feeds": [_tensor_to_json(tensor) for tensor in graph.feeds],
            "fetches": [_tensor_to_json(tensor) for tensor in graph.fetches],
            "parameters": [_tensor_to_json(tensor) for tensor in graph.parameters],
            "activations": graph.activations,
            "written_by": graph.written_by,
            "white": graph.white,
            "takes_bgr": graph.takes_bgr,
            "left_out": graph.left_out,
            "data_files": [file.relative_to(folder).as_posix() for file in graph.data_files],
            "metadata": dict(graph.metadata),
        }
    )


def from_json(document: Mapping[str, Any], folder: Path) -> Graph:
    """The graph that `to_json` wrote.

    Its text is a stranger's, and its writer may have been taken over: types are checked, and files
    are within the folder.

    Raises:
        ValueError, LookupError, TypeError: it is no such graph.
    """
    fetches = _tensors(document["fetches"])
    activations = _texts(document["activations"])
    feeds = _tensors(document["feeds"])
    white = document["white"]
    names = _texts(document["data_files"])
    if not feeds or not fetches or len(activations) != len(fetches) or white not in (None, 1, 255):
        raise ValueError("feeds and fetches")
    if not all(inside(name) and within(folder / name, folder) for name in names):
        raise ValueError("a file outside of the folder")
    metadata = document["metadata"]
    return Graph(
        feeds=feeds,
        fetches=fetches,
        parameters=_tensors(document["parameters"]),
        activations=activations,
        written_by=_text(document["written_by"]),
        white=white,
        takes_bgr=document["takes_bgr"] is True,
        left_out=_texts(document["left_out"]),
        data_files=tuple(folder / name for name in names),
        metadata={key: _text(metadata[key]) for key in metadata},
    )


def _tensor_to_json(tensor: GraphTensor) -> list[object]:
    return [tensor.name, tensor.dtype, tensor.shape, tensor.is_lod, tensor.classes]


def _tensors(given: Sequence[Any]) -> tuple[GraphTensor, ...]:
    return tuple(
        GraphTensor(_text(name), _text(dtype), _shape(shape), is_lod is True, _texts(classes))
        for name, dtype, shape, is_lod, classes in given
    )


def _shape(given: Sequence[Any]) -> tuple[int, ...]:
    if len(given) > _LARGEST_RANK or not all(
        type(dim) is int and abs(dim) < 2**63 for dim in given
    ):
        raise ValueError("a shape")
    return tuple(given)


def _texts(given: Sequence[Any]) -> tuple[str, ...]:
    return tuple(map(_text, given))


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise TypeError("a text")
    return given
