"""Where preprocessing and labels come from: an inference.yml, a file, a preset, a label file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import yaml

from bundle.inference_yml import (
    InferenceDescription,
    TransformOp,
    description_of,
    read_inference_yml,
)
from bundle.labels import read_labels

from .errors import ConversionError
from .exported_model import ExportedModel

# Where no description says how many categories an answer holds; PaddleClas' own default.
DEFAULT_TOPK = 5

# What nearly every classifier trained on ImageNet expects.
PRESETS: dict[str, tuple[TransformOp, ...]] = {
    "imagenet-224": (
        TransformOp("ResizeImage", {"resize_short": 256}),
        TransformOp("CropImage", {"size": 224}),
        TransformOp(
            "NormalizeImage",
            {
                "channel_num": 3,
                "mean": [0.485, 0.456, 0.406],
                "order": "",
                "scale": 1 / 255,
                "std": [0.229, 0.224, 0.225],
            },
        ),
        TransformOp("ToCHWImage", {}),
    ),
}


def describe(
    export: ExportedModel, *, labels: Path | None, preprocess: str | None, topk: int | None
) -> InferenceDescription:
    """Put a model's description together; options win over the inference.yml beside the model.

    Args:
        export: the model.
        labels: a label file.
        preprocess: a file shaped like inference.yml, a bare transform_ops list, or a preset's name.
        topk: how many categories an answer holds.

    Raises:
        ConversionError: preprocessing or labels are given nowhere.
        BundleError: a file is not what it must be.
    """
    description: InferenceDescription | None = None
    if export.inference_yml is not None:
        description = read_inference_yml(export.inference_yml)
    if preprocess is not None:
        given = _read_preprocess(preprocess)
        if description is None:
            description = given
        else:
            description = replace(
                description,
                transform_ops=given.transform_ops,
                labels=given.labels or description.labels,
            )
    if description is None:
        raise ConversionError(
            f"{export.folder}: has no inference.yml, so how pictures are prepared is unknown; give"
            f" --preprocess FILE (a transform_ops list) or --preprocess {next(iter(PRESETS))}"
        )
    if labels is not None:
        description = replace(description, labels=read_labels(labels))
    if description.labels is None:
        raise ConversionError(
            f"{export.folder}: the names of the classes are unknown; give --labels FILE,"
            " one label a line, the first is class 0"
        )
    return replace(description, topk=_topk(topk, description))


def _read_preprocess(preprocess: str) -> InferenceDescription:
    if preprocess in PRESETS:
        return InferenceDescription("", PRESETS[preprocess], topk=DEFAULT_TOPK)
    path = Path(preprocess)
    if not path.is_file():
        raise ConversionError(
            f"--preprocess {preprocess}: neither a file nor a preset ({', '.join(PRESETS)})"
        )
    document = _read_yaml(path)
    if isinstance(document, dict) and "PreProcess" in document:
        return description_of(document, str(path))
    if isinstance(document, dict) and "transform_ops" in document:
        document = document["transform_ops"]
    if not isinstance(document, list):
        raise ConversionError(f"{path}: holds neither PreProcess nor a list of transform_ops")
    described = description_of({"PreProcess": {"transform_ops": document}}, str(path))
    return InferenceDescription("", described.transform_ops, topk=DEFAULT_TOPK)


def _read_yaml(path: Path) -> object:
    try:
        document: object = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConversionError(
            f"{path}: is not YAML in UTF-8: {' '.join(str(error).split())}"
        ) from error
    return document


def _topk(asked: int | None, description: InferenceDescription) -> int:
    classes = len(description.labels or ())
    if asked is not None and not 1 <= asked <= classes:
        raise ConversionError(f"--topk {asked}: must be from 1 to the number of classes, {classes}")
    return asked or min(description.topk, classes)
