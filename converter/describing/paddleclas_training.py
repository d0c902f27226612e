"""PaddleClas' training configurations -> transform_ops, labels and the kind of result.

What counts is what PaddleClas does when it infers: `Infer.transforms`. Without it, or if it does
not fit the exported graph, it is what PaddleClas does when it evaluates:
`DataLoader.Eval.dataset.transform_ops`, after which the dataset class turns pixels into planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from bundle.inference_yml import MULTI_LABEL, InferenceDescription
from pipeline.predictors.feed import SURVEY_SIZE
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import ServingError

from ..errors import ConversionError
from .form import Source
from .paddleclas_yaml import read_deploy_yaml

# Dataset classes of ppcls.data.dataloader that turn pixels into planes after the list.
_TRANSPOSING = (
    "ImageNetDataset",
    "MultiLabelDataset",
    "CustomLabelDataset",
    "LogoDataset",
    "ICartoonDataset",
    "CompCars",
    "VeriWild",
    "Cifar10",
    "Cifar100",
)
# Their images are 32 x 32, and lists for them resize nothing.
_CIFAR = ("Cifar10", "Cifar100")
_CIFAR_SIZE = 32


def is_training_yaml(document: object) -> bool:
    """Whether a loaded YAML document is a training configuration of PaddleClas."""
    return isinstance(document, dict) and (
        "Infer" in document or "DataLoader" in document or _is_of_release_1(document)
    )


def _is_of_release_1(document: Mapping[str, Any]) -> bool:
    return "ARCHITECTURE" in document and "VALID" in document


def read_training_yaml(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate a loaded training configuration: what it does to images when it infers.

    Raises:
        ConversionError: it is of a model without classes, or does not say how images are prepared;
            otherwise as `read_deploy_yaml`.
        BundleError: as `read_deploy_yaml`.
    """
    if _is_of_release_1(document):
        document = _as_release_2(document)
    _refuse_features(document, source)
    transforms = None if source.steps_given else _transforms(document, source)
    postprocess = _mapping(document.get("Infer")).get("PostProcess")
    if postprocess is None and _exports_sigmoid(document):
        postprocess = {"name": MULTI_LABEL}
    described = read_deploy_yaml(
        {"PreProcess": {"transform_ops": transforms}, "PostProcess": postprocess}, source
    )
    arch = _mapping(document.get("Arch"))
    adds_softmax = arch.get("infer_add_softmax", True) or described.multi_label
    return replace(
        described,
        model_name=_model_name(arch),
        activation=described.activation if adds_softmax else "softmax",
    )


def _as_release_2(document: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of PaddleClas 1, whose lists end with ToCHWImage, under the later keys."""
    return {
        "Global": {"use_multilabel": document.get("multilabel", False)},
        "Arch": document.get("ARCHITECTURE"),
        "Infer": {"transforms": _mapping(document.get("VALID")).get("transforms")},
    }


def _refuse_features(document: Mapping[str, Any], source: Source) -> None:
    """Refuse models that PaddleClas exports without their classes."""
    arch = _mapping(document.get("Arch"))
    mode = _mapping(document.get("Global")).get("eval_mode", "classification")
    if mode != "classification":
        why = f"Global.eval_mode is {mode}"
    elif arch.get("infer_output_key") == "features":
        why = "Arch.infer_output_key is features"
    else:
        return
    raise ConversionError(
        f"{source.path}: {why}: the model gives features, to search similar images by, and no"
        " classes; only classifiers are served here"
    )


def _transforms(document: Mapping[str, Any], source: Source) -> object:
    """The list of Infer, unless its images do not fit the exported graph and evaluation's do.

    PaddleClas' own files have such lists: of MobileNetV4 and SVTR all say 224 x 224 in Infer.
    """
    inferring = _mapping(document.get("Infer")).get("transforms")
    if inferring is None:
        return _of_evaluation(document, source)
    shape = _mapping(document.get("Global")).get("image_shape")
    if not isinstance(shape, list) or _shape_of(inferring) == shape:
        return inferring
    try:
        evaluating = _of_evaluation(document, replace(source, warn=lambda _: None))
    except ConversionError:
        return inferring
    if _shape_of(evaluating) != shape:
        return inferring
    source.warn(
        f"{source.path}: Infer.transforms gives {_shape_of(inferring)} and the graph is exported"
        f" for Global.image_shape, {shape}: the list of DataLoader.Eval.dataset is taken, which"
        " gives that"
    )
    return evaluating


def _shape_of(transforms: object) -> list[int] | None:
    """The shape that a list gives of an image; None if it is not carried out."""
    if not isinstance(transforms, list):
        return None
    try:
        prepared = build_preprocess(transforms)(np.zeros((*SURVEY_SIZE, 3), np.uint8))
    except (ServingError, PreprocessError, AttributeError):
        return None
    return list(prepared.shape)


def _of_evaluation(document: Mapping[str, Any], source: Source) -> list[Any]:
    """The list of DataLoader.Eval.dataset, with what its class does after it."""
    loader = _mapping(_mapping(document.get("DataLoader")).get("Eval"))
    dataset = _mapping(loader.get("dataset"))
    transforms = dataset.get("transform_ops")
    if transforms is None:
        raise ConversionError(
            f"{source.path}: holds neither Infer.transforms nor"
            " DataLoader.Eval.dataset.transform_ops, so how images are prepared is unknown; give"
            " another --preprocess"
        )
    if not isinstance(transforms, list):
        raise ConversionError(
            f"{source.path}: DataLoader.Eval.dataset.transform_ops must be a list of operators"
        )
    return _as_the_dataset_class(transforms, dataset, source)


def _as_the_dataset_class(
    transforms: list[Any], dataset: Mapping[str, Any], source: Source
) -> list[Any]:
    """The list with what the dataset's class does before and after it."""
    names = [_operator_name(entry) for entry in transforms]
    name = dataset.get("name")
    if "ToCHWImage" not in names:
        # of those, VeriWild alone leaves the images of Pillow as they are
        if name not in _TRANSPOSING or (name == "VeriWild" and dataset.get("backend") == "pil"):
            raise ConversionError(
                f"{source.path}: what comes after the list of DataLoader.Eval.dataset depends on"
                f" its class, and {name} is not one of {', '.join(_TRANSPOSING)}; end the list with"
                " ToCHWImage, or write the list into Infer.transforms"
            )
        transforms = [*transforms, {"ToCHWImage": None}]
    if name in _CIFAR and not {"ResizeImage", "Resize", "CropImage"} & set(names):
        source.warn(
            f"{source.path}: resizes nothing, since the images of {name} have"
            f" {_CIFAR_SIZE} x {_CIFAR_SIZE} pixels; other images are resized to that"
        )
        transforms = [{"ResizeImage": {"size": _CIFAR_SIZE}}, *transforms]
    return transforms


def _operator_name(entry: object) -> str:
    """The name of an entry, which is a name or a map of a name to options."""
    return str(next(iter(entry), "")) if isinstance(entry, dict) else str(entry)


def _exports_sigmoid(document: Mapping[str, Any]) -> bool:
    """Whether the export ends in a sigmoid, by the rule of PaddleClas' exporter."""
    if _mapping(document.get("Global")).get("use_multilabel"):
        return True
    metrics = _mapping(document.get("Metric")).get("Eval")
    first = metrics[0] if isinstance(metrics, list) and metrics else None
    return isinstance(first, (dict, str)) and "ATTRMetric" in first


def _model_name(arch: Mapping[str, Any]) -> str:
    """The network's name; of a distillation, the name of the one that is exported."""
    models = arch.get("models")
    for entry in models if isinstance(models, list) else []:
        exported = _mapping(entry).get(str(arch.get("infer_model_name")))
        if exported:
            return str(_mapping(exported).get("name", ""))
    return str(arch.get("name", ""))


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
