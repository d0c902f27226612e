"""`model.yml` of PaddleX 1.x and 2.x exports -> transform_ops and labels.

The operators are those of paddlex.cls.transforms (1.x) and paddlex.transforms (2.x). PaddleX 1.x
turns an image into floats before it is resized, 2.x resizes 8-bit pixels: both are kept, for the
numbers differ by up to a grey level.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bundle.inference_yml import TOPK, InferenceDescription, TransformOp
from bundle.label_documents import label_text

from ..errors import ConversionError
from .form import DEFAULT_TOPK, Source
from .framework_ops import IMAGENET_MEAN, IMAGENET_STD
from .presets import normalize

# PaddleX' names of interpolations, and OpenCV's numbers for them in PaddleX 1.x.
_INTERPOLATIONS = {
    "NEAREST": "nearest",
    "LINEAR": "bilinear",
    "CUBIC": "bicubic",
    "AREA": "area",
    "LANCZOS4": "lanczos",
    "0": "nearest",
    "1": "bilinear",
    "2": "bicubic",
    "3": "area",
    "4": "lanczos",
}

Options = Mapping[str, Any]


def is_paddlex_yml(document: object) -> bool:
    """Whether a loaded YAML document is a `model.yml` of PaddleX."""
    return isinstance(document, dict) and "Transforms" in document


def read_paddlex_yml(document: Mapping[str, Any], given: Source) -> InferenceDescription:
    """Translate a loaded `model.yml`.

    Raises:
        ConversionError: it is of no classifier, or an operator or option is not known.
    """
    source = str(given.path)
    attributes = document.get("_Attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    kind = attributes.get("model_type", "classifier")
    if kind != "classifier":
        raise ConversionError(f"{source}: is of a {kind}; only classifiers are served here")
    operators: list[TransformOp] = []
    if str(document.get("TransformsMode", "RGB")).upper() == "BGR":
        operators.append(TransformOp("DecodeImage", {"to_rgb": False}))
    if str(document.get("version", "")).startswith("1."):
        operators.append(TransformOp("ToFloat32", {}))
    transforms = [] if given.steps_given else document["Transforms"]
    if not isinstance(transforms, list):
        raise ConversionError(f"{source}: Transforms must be a list of operators")
    for entry in transforms:
        operators.append(_translate(entry, source))
    operators.append(TransformOp("ToCHWImage", {}))
    labels = attributes.get("labels")
    return InferenceDescription(
        model_name=str(document.get("Model", "")),
        transform_ops=tuple(operators),
        topk=DEFAULT_TOPK,
        labels=() if given.labels_given and labels is not None else _labels(labels, source),
        document={"PostProcess": {TOPK: None}},  # of a classifier, which ends in a softmax
    )


def _translate(entry: object, source: str) -> TransformOp:
    if not isinstance(entry, dict) or len(entry) != 1:
        raise ConversionError(f"{source}: each entry of Transforms is one operator, not {entry!r}")
    name, options = next(iter(entry.items()))
    if str(name).startswith("Random"):
        raise ConversionError(
            f"{source}: {name} of Transforms changes images at random, and a service gives the "
            f"same image the same result; it belongs into training alone: remove it from {source}"
        )
    if name not in _TRANSLATORS:
        raise ConversionError(
            f"{source}: the operator {name} of Transforms is not known"
            f" (known: {', '.join(_TRANSLATORS)}); write a list of transform_ops and give it with"
            " --preprocess"
        )
    options = options or {}
    if not isinstance(options, dict):
        raise ConversionError(f"{source}: {name} takes options by name, not {options!r}")
    try:
        return _TRANSLATORS[name](options)
    except (LookupError, ValueError, TypeError, AttributeError, ArithmeticError) as error:
        raise ConversionError(f"{source}: {name} cannot be read: {error}") from error


def _resize_by_short(options: Options) -> TransformOp:
    translated = {"resize_short": options.get("short_size", 256), **_interpolation(options)}
    if options.get("max_size", -1) > 0:
        translated["max_long"] = options["max_size"]
    return TransformOp("ResizeImage", translated)


def _resize(options: Options) -> TransformOp:
    fit = {"fit": "paddlex"} if options.get("keep_ratio") else {}
    size = _width_and_height(options["target_size"])
    return TransformOp("ResizeImage", {"size": size, **fit, **_interpolation(options)})


def _resize_by_long(options: Options) -> TransformOp:
    interpolation = _interpolation(options).get("interpolation")
    interp = {"interp": interpolation} if interpolation else {}
    return TransformOp("ResizeByLong", {"long_size": options.get("long_size", 256), **interp})


def _padding(options: Options) -> TransformOp:
    """Padding without a size pads to a multiple."""
    padded: dict[str, Any] = {"fill_value": options.get("im_padding_value", [127.5] * 3)}
    if options.get("target_size"):
        padded["size"] = _width_and_height(options["target_size"])
    else:
        padded["size_divisor"] = options.get("size_divisor", 32)
    if options.get("pad_mode", 0):
        padded["pad_mode"] = options["pad_mode"]
    if options.get("pad_mode") == -1:
        padded["offsets"] = options["offsets"]
    return TransformOp("Padv2", padded)


def _width_and_height(size: int | list[int]) -> list[int]:
    """PaddleX counts [height, width], PaddleClas [width, height]."""
    return [size, size] if isinstance(size, int) else [size[1], size[0]]


def _interpolation(options: Options) -> dict[str, Any]:
    given = str(options.get("interp", "LINEAR")).upper()
    if given not in _INTERPOLATIONS:
        raise ValueError(f"interp {given}")
    chosen = _INTERPOLATIONS[given]
    return {} if chosen == "bilinear" else {"interpolation": chosen}


def _center_crop(options: Options) -> TransformOp:
    size = options.get("crop_size", 224)
    return TransformOp("CropImage", {"size": size if isinstance(size, int) else size[::-1]})


def _normalize(options: Options) -> TransformOp:
    """((pixel - min) / (max - min) - mean) / std, with one range for all channels.

    PaddleX 2.1 writes `is_scale` and does not heed it.
    """
    lows, highs = _range(options, "min_val", 0), _range(options, "max_val", 255)
    if len(set(lows)) > 1 or len(set(highs)) > 1:
        raise ValueError("min_val and max_val that differ between channels")
    span = highs[0] - lows[0]
    if span <= 0:
        raise ValueError("max_val that is not above min_val")
    mean = options.get("mean", IMAGENET_MEAN)
    shifted = [value + lows[0] / span for value in mean]
    return normalize(shifted, options.get("std", IMAGENET_STD), 1 / span)


def _range(options: Options, name: str, usual: float) -> list[float]:
    given = options.get(name, usual)
    return [float(value) for value in (given if isinstance(given, list) else [given])]


_TRANSLATORS: dict[str, Callable[[Options], TransformOp]] = {
    "ResizeByShort": _resize_by_short,
    "Resize": _resize,
    "ResizeByLong": _resize_by_long,
    "Padding": _padding,
    "CenterCrop": _center_crop,
    "Normalize": _normalize,
}


def _labels(labels: object, source: str) -> tuple[str, ...] | None:
    if labels is None:
        return None
    if not isinstance(labels, list) or not labels:
        raise ConversionError(f"{source}: _Attributes.labels must be a list")
    return tuple(
        label_text(label, class_id, f"{source}: _Attributes.labels")
        for class_id, label in enumerate(labels)
    )
