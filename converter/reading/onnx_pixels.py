"""What number white is for the input of an ONNX graph: 255, 1, or not known.

Networks of keras.applications (EfficientNet, MobileNetV3, ConvNeXt) begin with a multiplication by
1/255 or 1/127.5, or the subtraction of a mean of pixels: they need numbers from 0 to 255. Others
have the normalisation of their training in the graph, and need numbers from 0 to 1. Custom Vision
and Windows' converters write it into the metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from .onnx_values import Message, Values, constants

# Operators that leave the numbers as they are.
_PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_LARGEST_SCALE = 0.02  # 1/58 is a deviation of pixels, 1/0.2 one of numbers from 0 to 1
_SMALLEST_DIVISOR = 50.0
_SMALLEST_MEAN = 50.0
# Means and deviations of numbers from 0 to 1.
_MEANS, _DEVIATIONS = (0.2, 0.8), (0.1, 0.6)
_LONGEST = 8  # operators of a normalisation
# The values of ONNX's own key for it.
_RANGES = {"NominalRange_0_255": 255, "Normalized_0_1": 1}


def white_of(graph: Message, feed: str, metadata: Mapping[str, str]) -> int | None:
    """What white is for a feed: by the metadata, else by the first arithmetic on it."""
    said = _RANGES.get(metadata.get("Image.NominalPixelRange", ""))
    if said is not None:
        return said
    values = Values(graph)
    if _scales_pixels(values, feed):
        return 255
    return 1 if _normalizes(values, feed) else None


def _normalizes(graph: Values, feed: str) -> bool:
    """Whether it begins with (x - mean) / std of numbers from 0 to 1, in whatever steps."""
    name, factor, offset = feed, np.ones(1), np.zeros(1)
    for _ in range(_LONGEST):
        nodes = list(graph.takers.get(name, {}).values())
        if len(nodes) != 1:
            break
        (node,) = nodes
        if node.op_type not in _PASSING:
            values = [value.ravel() for value in constants(graph, node)]
            first = node.input[0] == name or node.op_type in ("Mul", "Add")
            if len(values) != 1 or not first or node.op_type not in _AFFINE:
                break
            factor, offset = _AFFINE[node.op_type](factor, offset, values[0])
        name = node.output[0]
    if not factor.all():
        return False
    mean, std = -offset / factor, 1 / factor
    return all(
        low <= numbers.min() and numbers.max() <= high
        for numbers, (low, high) in ((mean, _MEANS), (std, _DEVIATIONS))
    )


def _scales_pixels(graph: Values, feed: str) -> bool:
    """Whether the first arithmetic on the feed is that of pixels from 0 to 255."""
    names = [feed]
    seen: set[int] = set()
    while names:
        name = names.pop()
        for position, node in graph.takers.get(name, {}).items():
            if position in seen:
                continue
            seen.add(position)
            if node.op_type in _PASSING:
                names += node.output
            elif any(_is_of_pixels(node.op_type, value) for value in constants(graph, node)):
                return True
    return False


def _is_of_pixels(kind: str, value: np.ndarray) -> bool:
    largest = np.abs(value).max()
    if kind == "Mul":
        return bool(0 < largest <= _LARGEST_SCALE)
    if kind == "Div":
        return bool(np.abs(value).min() >= _SMALLEST_DIVISOR)
    if kind == "Sub":
        return bool(value.max() >= _SMALLEST_MEAN)
    return bool(kind == "Add" and value.min() <= -_SMALLEST_MEAN)


_AFFINE: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[Any, Any]]] = {
    "Mul": lambda factor, offset, value: (factor * value, offset * value),
    "Div": lambda factor, offset, value: (factor / value, offset / value),
    "Sub": lambda factor, offset, value: (factor, offset - value),
    "Add": lambda factor, offset, value: (factor, offset + value),
}
