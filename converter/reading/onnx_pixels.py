"""Whether an ONNX graph scales or shifts pixels itself, before anything else is computed.

Networks of keras.applications begin so (EfficientNet, MobileNetV3, ConvNeXt): a multiplication by
1/255 or 1/127.5, or the subtraction of a mean of pixels. They need numbers from 0 to 255.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

# Operators that leave the numbers as they are.
_PASSING = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
_LARGEST_SCALE = 0.02  # 1/58 is a deviation of pixels, 1/0.2 one of numbers from 0 to 1
_SMALLEST_DIVISOR = 50.0
_SMALLEST_MEAN = 50.0
_MOST_NUMBERS = 1024  # of a constant that is looked at

# Messages of the onnx package have no static types here.
Message = Any


def scales_pixels(graph: Message, feed: str) -> bool:
    """Whether the first arithmetic on the feed is that of pixels from 0 to 255."""
    names = [feed]
    seen: set[int] = set()
    while names:
        name = names.pop()
        for position, node in enumerate(graph.node):
            if name not in node.input or position in seen:
                continue
            seen.add(position)
            if node.op_type in _PASSING:
                names += node.output
            elif any(_is_of_pixels(node.op_type, value) for value in _constants(graph, node)):
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


def _constants(graph: Message, node: Message) -> Iterator[np.ndarray]:
    from onnx import TensorProto, numpy_helper

    for name in node.input:
        tensors = [tensor for tensor in graph.initializer if tensor.name == name]
        tensors += [
            attribute.t
            for maker in graph.node
            if maker.op_type == "Constant" and name in maker.output
            for attribute in maker.attribute
            if attribute.name == "value"
        ]
        for tensor in tensors:
            count = int(np.prod(tensor.dims))
            inside = tensor.data_location != TensorProto.EXTERNAL
            if inside and 0 < count <= _MOST_NUMBERS:
                yield np.asarray(numpy_helper.to_array(tensor), np.float64)
