"""Which presets belong to the program that wrote a graph."""

from __future__ import annotations

from ..reading.graph import Graph
from .presets import PRESETS
from .ultralytics_metadata import is_ultralytics_metadata

# What `Graph.written_by` begins with, the framework's name, and presets of its own.
_PRODUCERS = (
    ("pytorch", "PyTorch", "torchvision-224, timm-224"),
    ("tf2onnx", "Keras and TensorFlow", "keras-caffe-224, keras-tf-224, keras-torch-224"),
    ("keras", "Keras and TensorFlow", "keras-caffe-224, keras-tf-224, keras-torch-224"),
)


def paddle_preset_warning(name: str, graph: Graph) -> str:
    """One line on a preset of Paddle for a graph of another framework; "" if it fits."""
    if name not in PRESETS:
        return ""
    if is_ultralytics_metadata(graph.metadata):
        return (
            f"--preprocess {name} prepares images as PaddleClas does, and this model was exported"
            " by Ultralytics and says how it prepares them: leave the option out for its own scores"
        )
    written_by = graph.written_by
    for beginning, framework, presets in _PRODUCERS:
        if written_by.lower().startswith(beginning):
            return (
                f"--preprocess {name} prepares images as PaddleClas does, and this model was"
                f" written by {written_by}: its scores may differ from {framework}'s own. Give what"
                f" {framework} does ({presets}, with options where they differ), or compare with"
                " its scores: python -m converter verify BUNDLE --images DIR --reference FILE"
            )
    return ""
