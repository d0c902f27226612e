"""The image processors of transformers' image classifiers, and their defaults.

tests/conformance/test_huggingface_preprocess.py compares this table with the package.
"""

from __future__ import annotations

from dataclasses import dataclass

from .framework_ops import IMAGENET_MEAN, IMAGENET_STD, Size

_HALF = (0.5, 0.5, 0.5)
_CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
_BILINEAR, _BICUBIC = 2, 3


@dataclass(frozen=True)
class Processor:
    """What a class does where its file says nothing.

    Attributes:
        size: the length of the short side, or (height, width).
        resample: PIL.Image.Resampling.
        mean: of the normalisation.
        std: of the normalisation.
        square: a size that is one number is that of a square.
        crops: it crops the centre after it resizes.
        crop_size: (height, width) of that.
        normalizes: it normalises at all.
        crop_pct: it resizes to the size divided by this.
        squashes_above: from this size on it resizes the whole image; below it also crops.
        enlarges: the short side is multiplied by this.
        flips: it turns RGB into BGR.
        offsets: it has rescale_offset and include_top.
        options: keys of its own.
    """

    size: int | Size = (224, 224)
    resample: int = _BICUBIC
    mean: tuple[float, ...] = _HALF
    std: tuple[float, ...] = _HALF
    square: bool = True
    crops: bool = False
    crop_size: Size = (224, 224)
    normalizes: bool = True
    crop_pct: float | None = None
    squashes_above: int | None = None
    enlarges: float = 1
    flips: bool = False
    offsets: bool = False
    options: frozenset[str] = frozenset()


_CLIP = Processor(224, mean=_CLIP_MEAN, std=_CLIP_STD, square=False, crops=True)
_MOBILENET = Processor(256, resample=_BILINEAR, square=False, crops=True)
_CROP_PCT = frozenset({"crop_pct"})

PROCESSORS: dict[str, Processor] = {
    "Beit": Processor(),
    "Bit": _CLIP,
    "CLIP": _CLIP,
    "ConvNext": Processor(
        384, square=False, crop_pct=224 / 256, squashes_above=384, options=_CROP_PCT
    ),
    "DeiT": Processor((256, 256), crops=True),
    "EfficientNet": Processor(
        (346, 346),
        crop_size=(289, 289),
        offsets=True,
        options=frozenset({"rescale_offset", "include_top"}),
    ),
    "Levit": Processor(
        224, mean=IMAGENET_MEAN, std=IMAGENET_STD, square=False, crops=True, enlarges=256 / 224
    ),
    "MobileNetV1": _MOBILENET,
    "MobileNetV2": _MOBILENET,
    "MobileViT": Processor(
        224,
        square=False,
        crops=True,
        crop_size=(256, 256),
        normalizes=False,
        flips=True,
        options=frozenset({"do_flip_channel_order"}),
    ),
    "PoolFormer": Processor(
        224,
        mean=IMAGENET_MEAN,
        std=IMAGENET_STD,
        square=False,
        crops=True,
        crop_pct=0.9,
        options=_CROP_PCT,
    ),
    "Pvt": Processor(mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "Segformer": Processor((512, 512), resample=_BILINEAR, mean=IMAGENET_MEAN, std=IMAGENET_STD),
    "Siglip": Processor(square=False),
    "ViT": Processor(resample=_BILINEAR),
}
# Classes under the name of another model.
PROCESSORS["ConvNeXT"] = PROCESSORS["ConvNext"]
