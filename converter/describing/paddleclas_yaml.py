"""PaddleClas' own YAML files -> transform_ops, labels and the kind of result.

`deploy/configs/inference_cls.yaml` and its kin hold PreProcess and PostProcess; training
configurations hold Infer.transforms and Infer.PostProcess. Both name a label file instead of
holding labels, by a path from the folder that PaddleClas is run in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bundle.inference_yml import MULTI_LABEL, TOPK, InferenceDescription, description_of
from bundle.labels import label_text, read_labels

from ..errors import ConversionError
from .form import Source

# Keys of PostProcess that say how files are written, not what a result holds.
_SIDE_EFFECTS = ("SavePreLabel", "main_indicator")


def is_training_yaml(document: object) -> bool:
    """Whether a loaded YAML document is a training configuration of PaddleClas."""
    return isinstance(document, dict) and ("Infer" in document or "DataLoader" in document)


def is_deploy_yaml(document: object) -> bool:
    """Whether it is a deploy configuration: its PostProcess differs from that of an inference.yml.

    Either names a label file, or holds the older flat PostProcess.
    """
    if not isinstance(document, dict) or not isinstance(document.get("PostProcess"), dict):
        return False
    postprocess = document["PostProcess"]
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
    path, labels_given = source.path, source.labels_given
    postprocess = _postprocess(document.get("PostProcess"), path)
    kind = next(iter(postprocess))
    label_file = postprocess[kind].pop("class_id_map_file", None)
    listed = postprocess[kind].pop("label_list", None) if labels_given else None
    described = description_of(
        {"PreProcess": document.get("PreProcess"), "PostProcess": postprocess}, str(path)
    )
    described = replace(described, document={}, labels=described.labels if listed is None else ())
    if described.labels is not None or label_file is None:
        return described
    found = _find(str(label_file), [path.parent, path.parent.parent, Path(), *source.folders])
    if found is not None:
        source.note_label_file(found)
        return replace(described, labels=() if labels_given else read_labels(found, source.warn))
    if source.need_labels:
        raise ConversionError(
            f"{path}: its label file {label_file} is not here; give it with --labels"
        )
    return described


def read_training_yaml(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate a loaded training configuration: what it does to images when it infers.

    Errors are those of `read_deploy_yaml`.
    """
    infer = _mapping(document.get("Infer"))
    transforms = infer.get("transforms")
    if transforms is None:
        dataset = _mapping(
            _mapping(_mapping(document.get("DataLoader")).get("Eval")).get("dataset")
        )
        transforms = dataset.get("transform_ops")
    if transforms is None:
        raise ConversionError(
            f"{source.path}: holds neither Infer.transforms nor"
            " DataLoader.Eval.dataset.transform_ops"
        )
    described = read_deploy_yaml(
        {"PreProcess": {"transform_ops": transforms}, "PostProcess": infer.get("PostProcess")},
        source,
    )
    return replace(described, model_name=str(_mapping(document.get("Arch")).get("name", "")))


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
    section.pop("delimiter", None)  # a blank or a tab; both are read
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


def _find(name: str, folders: Sequence[Path]) -> Path | None:
    given = Path(name)
    candidates = [folder / given for folder in folders]
    # from deploy/, the file is ../ppcls/utils/...; a copy often lies beside the configuration
    candidates += [folder / given.name for folder in folders]
    return next((path for path in candidates if path.is_file()), None)


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
