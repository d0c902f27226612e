"""`config.json` of timm: how it prepares images for a model, and what the classes are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.inference_yml import InferenceDescription

from ..errors import ConversionError
from .form import DEFAULT_TOPK, Source
from .framework_ops import CROP_MODES, IMAGENET_MEAN, IMAGENET_STD, INTERPOLATIONS, Size, timm
from .presets import for_graph
from .values import Values, is_side, labels_by_number


def is_timm_json(document: object) -> bool:
    """Whether it is timm's, with `pretrained_cfg`, or of its first versions, without."""
    if not isinstance(document, dict):
        return False
    if isinstance(document.get("pretrained_cfg"), dict):
        return True
    return "architecture" in document and "input_size" in document


def read_timm_json(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate what timm.data.resolve_model_data_config reads of it.

    Raises:
        ConversionError: a value is not what it must be, or asks for what cannot be served.
    """
    own = document.get("pretrained_cfg")
    values = Values(own if isinstance(own, dict) else document, str(source.path))
    labels = None if source.labels_given else _labels(document, values)
    if source.labels_given and _label_names(document, values):
        labels = ()
    return InferenceDescription(
        model_name=str(document.get("architecture") or values.get("architecture", "")),
        transform_ops=() if source.steps_given else for_graph(_steps(values, source), source.graph),
        topk=DEFAULT_TOPK,
        labels=labels,
    )


def _steps(values: Values, source: Source) -> Any:  # noqa: ANN401 - operators
    size = _size(values, "input_size", (224, 224))
    crop_pct = values.number("crop_pct", 0.875)
    # The size that the model was tested with counts where the graph was exported for it.
    tested = _size(values, "test_input_size", size)
    if tested != size and _fixed_size(source) == tested:
        size, crop_pct = tested, values.number("test_crop_pct", crop_pct)
    return timm(
        size,
        crop_pct,
        _one_of(values, "crop_mode", CROP_MODES, "center"),
        _one_of(values, "interpolation", INTERPOLATIONS, "bicubic"),
        values.channels("mean", IMAGENET_MEAN),
        values.deviations("std", IMAGENET_STD),
    )


def _size(values: Values, key: str, default: Size) -> Size:
    """[3, height, width]."""
    given = values.get(key, [3, *default])
    if not isinstance(given, (list, tuple)) or len(given) != 3 or not all(map(is_side, given)):
        raise values.error(key, "[3, height, width]")
    if given[0] != 3:
        raise values.error(
            key,
            "[3, height, width] (for a grey model, give --preprocess a list of transform_ops that"
            " begins with Grayscale)",
        )
    return given[1], given[2]


def _fixed_size(source: Source) -> Size | None:
    if source.graph is None or len(source.graph.feeds[0].shape) != 4:
        return None
    shape = source.graph.feeds[0].shape
    return (shape[2], shape[3]) if shape[1] == 3 else (shape[1], shape[2])


def _one_of(values: Values, key: str, known: tuple[str, ...], default: str) -> str:
    given = values.text(key, default)
    if given not in known:
        raise values.error(key, f"one of {', '.join(known)}")
    return given


def _label_names(document: Mapping[str, Any], values: Values) -> object:
    # timm puts names of a fine-tuned model above pretrained_cfg, which may keep the old ones
    places = (document, values.document)
    # `labels` is the name in timm's first versions, `id2label` that of transformers around timm
    keys = ("label_names", "labels", "id2label")
    return next((place[key] for key in keys for place in places if place.get(key)), None)


def _labels(document: Mapping[str, Any], values: Values) -> tuple[str, ...] | None:
    """The description of each class where there is one, else its name."""
    given = _label_names(document, values)
    if given is None:
        return None
    names = labels_by_number(given, f"{values.where}: label_names")
    texts: Any = document.get("label_descriptions") or values.get("label_descriptions") or {}
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ConversionError(
            f"{values.where}: label_descriptions names texts by label; correct it, or give --labels"
        )
    return tuple(str(texts.get(name, name)) for name in names)
