"""`inference.yml` of PaddleClas 2.6 and PaddleX 3, and a bare list of transform_ops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.inference_yml import InferenceDescription, description_of
from bundle.strict_yaml import LABEL_KEYS

from .form import DEFAULT_TOPK, Source
from .paddleclas_training import is_training_yaml
from .paddleclas_yaml import is_deploy_yaml
from .paddleocr_yml import is_paddleocr_yml
from .paddlex_yml import is_paddlex_yml


def is_inference_yml(document: object) -> bool:
    """Whether a loaded YAML document is an inference.yml, and no configuration of PaddleClas."""
    return (
        isinstance(document, dict)
        and "PreProcess" in document
        and not is_deploy_yaml(document)
        and not is_training_yaml(document)
        and not is_paddlex_yml(document)
        and not is_paddleocr_yml(document)
    )


def read_document(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Read a loaded inference.yml.

    Raises:
        BundleError: a part that is read is not as it must be.
    """
    if source.labels_given:
        document = _without_labels(document)
    return description_of(document, str(source.path))


def is_operator_list(document: object) -> bool:
    """Whether it is a list of operators, by itself or under `transform_ops`."""
    if isinstance(document, dict) and not is_inference_yml(document):
        document = document.get("transform_ops")
    return isinstance(document, list)


def read_operator_list(document: object, source: Source) -> InferenceDescription:
    """Read a loaded list of operators; it says nothing about results and labels.

    Raises:
        BundleError: an entry is no operator.
    """
    operators = document["transform_ops"] if isinstance(document, dict) else document
    described = description_of({"PreProcess": {"transform_ops": operators}}, str(source.path))
    return InferenceDescription("", described.transform_ops, topk=DEFAULT_TOPK)


def _without_labels(document: Mapping[str, Any]) -> dict[str, Any]:
    """The document without its lists of labels."""
    postprocess = document.get("PostProcess")
    if not isinstance(postprocess, dict):
        return dict(document)
    kept = {
        name: {key: value for key, value in section.items() if key not in LABEL_KEYS}
        if isinstance(section, dict)
        else section
        for name, section in postprocess.items()
    }
    return {**document, "PostProcess": kept}
