"""Which presets belong to the program that wrote a graph."""

from __future__ import annotations

from ..reading.graph import Graph
from .presets import PRESETS, takes_pixels

_OF_PYTORCH = ("torchvision", "timm", "ultralytics", "yolov5-cls")
_OF_KERAS = ("keras-",)
_OF_PADDLE = (*PRESETS, "paddleocr-cls")
_KERAS_PRESETS = "keras-caffe-224, keras-tf-224, keras-torch-224, keras-pixels-224"
# What `Graph.written_by` begins with, the framework's name, and presets of its own.
_PRODUCERS = (
    ("pytorch", "PyTorch", "torchvision-224, timm-224"),
    ("tf2onnx", "Keras or TensorFlow", _KERAS_PRESETS),
    ("keras", "Keras or TensorFlow", _KERAS_PRESETS),
)
_FAMILIES = ((_OF_PADDLE, "PaddleClas"), (_OF_PYTORCH, "PyTorch"), (_OF_KERAS, "Keras"))


def foreign_preset_warning(name: str, graph: Graph) -> str:
    """One line on a preset of another framework than the graph's; "" if it fits, or may."""
    family = next((of for names, of in _FAMILIES if name.startswith(names)), "")
    written_by = graph.written_by
    for beginning, framework, presets in _PRODUCERS:
        if not written_by.lower().startswith(beginning):
            continue
        # Keras on PyTorch is written by PyTorch, and takes pixels
        of_keras = family == "Keras" and takes_pixels(graph.feeds[0])
        if not family or framework.startswith(family) or of_keras:
            return ""
        does = "PaddleOCR" if name.startswith("paddleocr") else family
        return (
            f"--preprocess {name} prepares images as {does} does, and this model was"
            f" written by {written_by}: its scores may differ from {framework}'s own. Give the"
            f" preset of {framework} ({presets}, with options where they differ), or compare with"
            " its scores: python -m converter verify BUNDLE --images DIR --reference FILE"
        )
    return ""


def preset_advice(graph: Graph) -> str:
    """What to choose among the presets for a graph of a known framework; "" for another graph."""
    for beginning, framework, presets in _PRODUCERS:
        if graph.written_by.lower().startswith(beginning):
            return f"for this model, which {framework} wrote: {presets}; "
    return ""
