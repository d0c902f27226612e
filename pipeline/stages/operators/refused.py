"""Operators that are known and not carried out: why, and what to write instead."""

from __future__ import annotations

from typing import Dict

_AT_RANDOM = (
    "changes images at random, and a service gives the same image the same result; it belongs into "
    "training alone: take it out"
)
_OF_A_DETECTOR = "prepares images for a detector; only classifiers are served here"
_OF_TRAINING = "reads labels for training and leaves the image as it is: take it out"

# Names that do not begin with Rand.
_RANDOM = (
    "AutoAugment",
    "TimmAutoAugment",
    "AugMix",
    "ColorJitter",
    "CropWithPadding",
    "BlurImage",
    "Cutout",
    "HideAndSeek",
    "GridMask",
    "PCALighting",
    "MixupOperator",
    "CutmixOperator",
    "OpSampler",
    "FmixOperator",
    "MixupCutmixHybrid",
)

_REFUSED: Dict[str, str] = {
    **dict.fromkeys(_RANDOM, _AT_RANDOM),
    **dict.fromkeys(
        ("DetResize", "DetNormalizeImage", "DetPermute", "DetPadStride"), _OF_A_DETECTOR
    ),
    **dict.fromkeys(("Resize_Mult32", "WarpAffine", "CULaneResize"), _OF_A_DETECTOR),
    **dict.fromkeys(("ClsLabelEncode", "KeepKeys", "LoadImage"), _OF_TRAINING),
    "RecResizeImg": "prepares lines for a recogniser of text; only classifiers are served here",
    "CenterCrop": "is written CropImage: {size: ...}, with rounding: even for that of PyTorch",
    "ToTensor": "is written NormalizeImage: {divisor: 255, mean: ..., std: ..., order: ''} and"
    " ToCHWImage",
    "Normalize": "is written NormalizeImage: {divisor: 255, mean: ..., std: ..., order: ''}",
    "Transpose": "is written ToCHWImage",
    "Padding": "is PaddleX', and read in its model.yml; here it is written Padv2",
    "ResizeByShort": "is PaddleX', and read in its model.yml; here it is written"
    " ResizeImage: {resize_short: ...}",
    "ToGray": "is written Grayscale: {num_output_channels: 1}",
    "ToRGB": "is what images are when they come; take it out",
}


def reason_against(name: str) -> str:
    """What is said of an operator of that name; empty where it is unknown."""
    if name.startswith("Rand"):
        return _AT_RANDOM
    return _REFUSED.get(name, "")
