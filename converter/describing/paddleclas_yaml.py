"""PaddleClas' deploy configurations -> transform_ops, labels and the kind of result.

`deploy/configs/inference_cls.yaml` and its kin hold PreProcess and PostProcess. They name a label
file instead of holding labels, by a path from the folder that PaddleClas is run in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bundle.inference_yml import TOPK, TWO_CLASSES, InferenceDescription, description_of

from ..errors import ConversionError
from .form import Source
from .label_file import labels_of
from .paddleclas_results import served_section
from .paddleocr_yml import is_paddleocr_yml

# Keys of PostProcess that say how files are written, not what a result holds.
_SIDE_EFFECTS = ("SavePreLabel", "main_indicator")


def is_deploy_yaml(document: object) -> bool:
    """Whether it is a deploy configuration: its PostProcess differs from that of an inference.yml.

    Either names a label file, or holds the older flat PostProcess.
    """
    if not isinstance(document, dict) or not isinstance(document.get("PostProcess"), dict):
        return False
    postprocess = document["PostProcess"]
    if is_paddleocr_yml(document):
        return False
    flat = "name" in postprocess or "main_indicator" in postprocess
    return flat or any(
        "class_id_map_file" in section or (name == TWO_CLASSES and "label_list" not in section)
        for name, section in postprocess.items()
        if isinstance(section, dict)
    )


def read_deploy_yaml(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate a loaded deploy configuration.

    Raises:
        ConversionError: its PostProcess is of a kind that is not served, or the label file is
            missing.
        BundleError: another part is not what it must be.
    """
    path = source.path
    preprocess = {"transform_ops": [{"ToCHWImage": None}]}
    if not source.steps_given:
        preprocess = _mapping(document.get("PreProcess"))
    postprocess = _postprocess(document.get("PostProcess"), source)
    kind = next(iter(postprocess))
    section = postprocess[kind]
    label_file, delimiter = section.pop("class_id_map_file", None), section.pop("delimiter", None)
    listed = None
    for name in ("label_list", "label_0", "label_1") if source.labels_given else ():
        listed = section.pop(name, listed)
    described = description_of({"PreProcess": preprocess, "PostProcess": postprocess}, str(path))
    labels = described.labels if listed is None else ()
    if labels is None:
        labels = labels_of(label_file, source, None if delimiter is None else str(delimiter))
    said = {"PostProcess": {kind: None}} if document.get("PostProcess") else {}
    return replace(described, labels=labels, document=said)


def _postprocess(given: object, source: Source) -> dict[str, dict[str, Any]]:
    """One section of a kind that is served, of any of the forms PaddleClas has had.

    Raises:
        ConversionError: it is of another kind.
    """
    sections = dict(_mapping(given))
    if "name" in sections:
        name = sections.pop("name")
        sections = {str(name): sections}
    kinds = [name for name in sections if name not in _SIDE_EFFECTS]
    indicated = sections.get("main_indicator")
    if indicated in kinds:
        kinds = [str(indicated)]
    if not kinds:
        return {TOPK: {"topk": 5}}
    if len(kinds) > 1:
        raise ConversionError(
            f"{source.path}: PostProcess is {', '.join(map(str, kinds))}, and does not say which of"
            " them is the result; keep one, or name it as main_indicator"
        )
    return served_section(str(kinds[0]), _mapping(sections[kinds[0]]), source)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
