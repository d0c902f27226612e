"""Preprocessing that tutorials write into code, by name.

The names without a framework are Paddle's: images are resized with OpenCV. Those that begin with a
framework are in framework_presets.py.
"""

from __future__ import annotations

from collections.abc import Sequence

from bundle.inference_yml import TransformOp

from ..reading.graph import Graph, GraphTensor
from .framework_ops import IMAGENET_MEAN, IMAGENET_STD, TO_PLANES
from .framework_presets import FRAMEWORK_PRESETS, framework_preset

# The statistics of the 40-class household waste contest's training images.
GARBAGE40_MEAN = (0.56719673, 0.5293289, 0.48351972)
GARBAGE40_STD = (0.20874391, 0.21455203, 0.22451781)


def normalize(mean: Sequence[float], std: Sequence[float], scale: float = 1 / 255) -> TransformOp:
    """(pixel * scale - mean) / std, as current exports write it."""
    return TransformOp(
        "NormalizeImage",
        {"channel_num": 3, "mean": list(mean), "order": "", "scale": scale, "std": list(std)},
    )


_SHORT_SIDE_AND_CENTRE = (
    TransformOp("ResizeImage", {"resize_short": 256}),
    TransformOp("CropImage", {"size": 224}),
    normalize(IMAGENET_MEAN, IMAGENET_STD),
    TO_PLANES,
)

PRESETS: dict[str, tuple[TransformOp, ...]] = {
    # What nearly every classifier of Paddle's expects; three names that readers know.
    "imagenet-224": _SHORT_SIDE_AND_CENTRE,
    "paddle-serving-sample": _SHORT_SIDE_AND_CENTRE,
    "paddlex": _SHORT_SIDE_AND_CENTRE,
    # The whole image at EfficientNet-B5's size.
    "garbage40": (
        TransformOp("ResizeImage", {"size": [456, 456]}),
        normalize(GARBAGE40_MEAN, GARBAGE40_STD),
        TO_PLANES,
    ),
}


def preset(name: str) -> tuple[TransformOp, ...] | None:
    """The transform_ops of a preset, of Paddle or of a framework; None if there is none.

    Raises:
        ConversionError: an option of a framework's preset is not known, or its value.
    """
    return PRESETS.get(name) or framework_preset(name)


def preset_names() -> tuple[str, ...]:
    """Names for lists and errors; those of frameworks take options too."""
    return (*PRESETS, *(known.example for known in FRAMEWORK_PRESETS.values()))


def for_graph(operators: Sequence[TransformOp], graph: Graph | None) -> tuple[TransformOp, ...]:
    """The same for what a graph takes: [N, H, W, 3], as Keras and TensorFlow do, has no planes."""
    if graph is None or not takes_pixels(graph.feeds[0]):
        return tuple(operators)
    return tuple(operator for operator in operators if operator != TO_PLANES)


def takes_pixels(feed: GraphTensor) -> bool:
    """[N, H, W, C] and not [N, C, H, W]: of one, three or four channels."""
    counts = (1, 3, 4)
    return len(feed.shape) == 4 and feed.shape[3] in counts and feed.shape[1] not in counts
