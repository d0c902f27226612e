"""Preprocessing that tutorials write into code, by name."""

from __future__ import annotations

from collections.abc import Sequence

from bundle.inference_yml import TransformOp

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# The statistics of the 40-class household waste contest's training images.
GARBAGE40_MEAN = (0.56719673, 0.5293289, 0.48351972)
GARBAGE40_STD = (0.20874391, 0.21455203, 0.22451781)

_TO_PLANES = TransformOp("ToCHWImage", {})


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
    _TO_PLANES,
)

PRESETS: dict[str, tuple[TransformOp, ...]] = {
    # What nearly every classifier trained on ImageNet expects; three names that readers know.
    "imagenet-224": _SHORT_SIDE_AND_CENTRE,
    "paddle-serving-sample": _SHORT_SIDE_AND_CENTRE,
    "paddlex": _SHORT_SIDE_AND_CENTRE,
    # The whole image at EfficientNet-B5's size.
    "garbage40": (
        TransformOp("ResizeImage", {"size": [456, 456]}),
        normalize(GARBAGE40_MEAN, GARBAGE40_STD),
        _TO_PLANES,
    ),
}


def for_pixels(operators: Sequence[TransformOp]) -> tuple[TransformOp, ...]:
    """The same for a model that takes [N, H, W, 3], as those of Keras and TensorFlow do."""
    return tuple(operator for operator in operators if operator != _TO_PLANES)
