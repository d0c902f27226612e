"""`infer_cfg.yml` of PaddleDetection's exports and PP-Human's classifiers -> transform_ops, labels.

The operators are those of PaddleDetection's deploy/python/preprocess.py, under their own names. It
decodes to RGB before the list. The file says nothing of results: the end of the graph does.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.inference_yml import InferenceDescription, TransformOp
from bundle.label_documents import label_text

from ..errors import ConversionError
from .form import DEFAULT_TOPK, Source

# Of SUPPORT_MODELS in PaddleDetection's deployment, those whose models are classifiers.
_CLASSIFIERS = ("PPHGNet", "PPLCNet", "StrongBaseline")
# The others, by what their names hold, and what its exporter writes besides.
_OTHERS = (
    "YOLO", "RCNN", "SSD", "Face", "FCOS", "SOLOv2", "TTFNet", "S2ANet", "JDE", "FairMOT",
    "DeepSORT", "ByteTrack", "GFL", "PicoDet", "CenterNet", "TOOD", "RetinaNet", "STGCN", "DETR",
    "CenterTrack", "CLRNet", "EfficientDet", "HRNet", "METRO_Body",
)  # fmt: skip
# Keys that only detectors, trackers and models of lanes have.
_OF_OTHERS = ("NMS", "fpn_stride", "tracker", "mask", "max_lanes")


def is_paddledetection_yml(document: object) -> bool:
    """Whether a loaded YAML document is an `infer_cfg.yml`."""
    return isinstance(document, dict) and isinstance(document.get("Preprocess"), list)


def read_paddledetection_yml(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate a loaded `infer_cfg.yml`.

    Raises:
        ConversionError: it is of no classifier, or an entry of Preprocess is no operator.
        BundleError: label_list is not what it must be.
    """
    _refuse_others(document, source)
    operators = []
    for entry in [] if source.steps_given else document["Preprocess"]:
        if not isinstance(entry, dict) or not isinstance(entry.get("type"), str):
            raise ConversionError(
                f"{source.path}: each entry of Preprocess is an operator with its type, not"
                f" {entry!r}"
            )
        options = {name: value for name, value in entry.items() if name != "type"}
        if entry["type"] == "NormalizeImage":
            options = {"is_scale": True, "norm_type": "mean_std", **options}
        operators.append(TransformOp(entry["type"], options))
    return InferenceDescription(
        model_name=str(document.get("arch", "")),
        transform_ops=tuple(operators),
        topk=DEFAULT_TOPK,
        labels=_labels(document.get("label_list"), source),
    )


def _refuse_others(document: Mapping[str, Any], source: Source) -> None:
    arch = str(document.get("arch", ""))
    key = next((key for key in _OF_OTHERS if document.get(key)), None)
    known = any(name in arch for name in _CLASSIFIERS)
    if key is None and (known or not any(name.lower() in arch.lower() for name in _OTHERS)):
        return
    what = f"holds {key}" if key else f"its arch is {arch}"
    raise ConversionError(
        f"{source.path}: {what}: it is of a detector or another model that gives more than classes;"
        " only classifiers are served here"
    )


def _labels(listed: object, source: Source) -> tuple[str, ...] | None:
    if source.labels_given or not listed:
        return () if listed else None
    if not isinstance(listed, list):
        raise ConversionError(f"{source.path}: label_list must be a list")
    where = f"{source.path}: label_list"
    return tuple(label_text(label, class_id, where) for class_id, label in enumerate(listed))
