"""PaddleClas' deploy configurations -> transform_ops, labels and the kind of result.

`deploy/configs/inference_cls.yaml` and its kin hold PreProcess and PostProcess. They name a label
file instead of holding labels, by a path from the folder that PaddleClas is run in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle.inference_yml import MULTI_LABEL, TOPK, InferenceDescription, description_of
from bundle.labels import label_text

from ..errors import ConversionError
from .form import Source
from .label_file import labels_of
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
        "class_id_map_file" in section or name == "ThreshOutput"
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
    postprocess = _postprocess(document.get("PostProcess"), path)
    kind = next(iter(postprocess))
    section = postprocess[kind]
    label_file, delimiter = section.pop("class_id_map_file", None), section.pop("delimiter", None)
    listed = section.pop("label_list", None) if source.labels_given else None
    described = description_of({"PreProcess": preprocess, "PostProcess": postprocess}, str(path))
    labels = described.labels if listed is None else ()
    if labels is None:
        labels = labels_of(label_file, source, None if delimiter is None else str(delimiter))
    said = {"PostProcess": {kind: None}} if document.get("PostProcess") else {}
    return replace(described, labels=labels, document=said)


def _postprocess(given: object, path: Path) -> dict[str, dict[str, Any]]:
    """One section, Topk or MultiLabelThreshOutput, of any of the forms PaddleClas has had."""
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
    section = dict(_mapping(sections[kinds[0]]))
    if kinds[0] == "ThreshOutput" and section.get("threshold") == 0.5:
        # With two classes and one half between them, the better one is the result.
        labels = [
            label_text(section.get(f"label_{number}", str(number)), number, str(path))
            for number in (0, 1)
        ]
        return {TOPK: {"topk": 1, "label_list": labels}}
    if len(kinds) > 1 or kinds[0] not in (TOPK, MULTI_LABEL):
        raise ConversionError(
            f"{path}: PostProcess is {', '.join(kinds)}; served are {TOPK}, {MULTI_LABEL} and"
            " ThreshOutput at 0.5; give a list of transform_ops with --preprocess, and --labels"
        )
    return {kinds[0]: section}


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
