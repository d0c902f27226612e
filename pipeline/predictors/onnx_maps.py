"""Outputs of ONNX graphs that are maps from a class to its score, one for each image.

The operator ZipMap makes them, of a row of scores and the list of classes that it holds: what
scikit-learn's converter writes, and older versions of Custom Vision. The runtime hands out a
dictionary an image, sorted by class; only the graph knows the order of the scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from bundle.dynamic_messages import Field, build_messages

from .predictor import PredictorError

# The fields of onnx.proto that lead to ZipMap's classes; the package onnx is not needed to serve.
_MODEL = build_messages(
    "paddle_serving_kit.onnx_maps",
    {
        "Attribute": {
            "name": Field(1, "string"),
            "ints": Field(8, "int64", repeated=True),
            "strings": Field(9, "string", repeated=True),
        },
        "Node": {
            "input": Field(1, "string", repeated=True),
            "output": Field(2, "string", repeated=True),
            "op_type": Field(4, "string"),
            "attribute": Field(5, "Attribute", repeated=True),
        },
        "Graph": {"node": Field(1, "Node", repeated=True)},
        "Model": {"graph": Field(7, "Graph")},
    },
)["Model"]

Key = str | int
# A graph of the onnx package or of this module: neither has static types.
Graph = Any


def classes_of_map(graph: Graph, output: str) -> tuple[Key, ...]:
    """Return the classes of a map in the order of their scores; () if the graph does not say.

    Numbers from 0 to n-1 are their own order: a list of labels begins with class 0.
    """
    makers = {name: node for node in graph.node for name in node.output}
    node = makers.get(output)
    while node is not None and node.op_type == "Identity":
        node = makers.get(node.input[0])
    if node is None or node.op_type != "ZipMap":
        return ()
    for attribute in node.attribute:
        if attribute.name == "classlabels_strings" and len(attribute.strings):
            return tuple(map(_text, attribute.strings))
        if attribute.name == "classlabels_int64s" and len(attribute.ints):
            numbers = [int(number) for number in attribute.ints]
            counted = sorted(numbers) == list(range(len(numbers)))
            return tuple(sorted(numbers) if counted else numbers)
    return ()


def read_classes(model_file: Path, output: str) -> tuple[Key, ...]:
    """Return the classes of a map that the model in a file gives; see `classes_of_map`.

    Raises:
        PredictorError: the file does not say them.
    """
    model = _MODEL()
    try:
        model.ParseFromString(model_file.read_bytes())
        classes = classes_of_map(model.graph, output)
    except (DecodeError, UnicodeDecodeError):
        classes = ()
    if not classes:
        raise PredictorError(
            f"{model_file}: the classes of its output {output!r}, a map, are unknown; export it"
            " without ZipMap"
        )
    return classes


def scores_of_maps(
    maps: Sequence[Mapping[Key, float]], classes: Sequence[Key], output: str
) -> np.ndarray:
    """Return the scores of the maps, float32 [N, classes].

    Raises:
        PredictorError: a class is missing in a map.
    """
    try:
        return np.array([[row[key] for key in classes] for row in maps], np.float32)
    except KeyError as error:
        raise PredictorError(
            f"the output {output!r} has no score of the class {error}; export the model without"
            " ZipMap"
        ) from error


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
