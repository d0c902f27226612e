"""PaddleOCR's text-direction classifier: its `inference.yml` and its training YAML.

PaddleOCR writes the transforms of its evaluation into `inference.yml`, with those of labels. The
model takes BGR where DecodeImage says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from bundle.inference_yml import TOPK, InferenceDescription, description_of

from ..errors import ConversionError
from .form import Source

# They read and sort labels, and leave the image as it is.
_OF_LABELS = ("ClsLabelEncode", "KeepKeys")
_CLASSIFIES = "ClsPostProcess"


def is_paddleocr_yml(document: object) -> bool:
    """Whether a loaded YAML document is of PaddleOCR's text-direction classifier."""
    if not isinstance(document, dict):
        return False
    postprocess = document.get("PostProcess")
    named = isinstance(postprocess, dict) and postprocess.get("name") == _CLASSIFIES
    return named and ("PreProcess" in document or _evaluation(document) is not None)


def _evaluation(document: Mapping[str, Any]) -> object:
    """The transforms of evaluation in a training YAML; None if it is none."""
    evaluation = document.get("Eval")
    dataset = evaluation.get("dataset") if isinstance(evaluation, dict) else None
    return dataset.get("transforms") if isinstance(dataset, dict) else None


def read_paddleocr_yml(document: Mapping[str, Any], source: Source) -> InferenceDescription:
    """Translate a loaded description of a text-direction classifier.

    Raises:
        ConversionError: DecodeImage has options that are not known.
        BundleError: another part is not what it must be.
    """
    preprocess = document.get("PreProcess") or {"transform_ops": _evaluation(document)}
    if source.steps_given:
        preprocess = {"transform_ops": ["ToCHWImage"]}
    listed = document["PostProcess"].get("label_list")
    if listed is None and isinstance(document.get("Global"), dict):
        listed = document["Global"].get("label_list")
    known = listed is not None and not source.labels_given
    described = description_of(
        {
            "Global": document.get("Global"),
            "PreProcess": preprocess,
            "PostProcess": {TOPK: {"topk": 1, **({"label_list": listed} if known else {})}},
        },
        str(source.path),
    )
    operators = tuple(
        replace(operator, options=_decoding(operator.options, source))
        if operator.name == "DecodeImage"
        else operator
        for operator in described.transform_ops
        if operator.name not in _OF_LABELS
    )
    return replace(
        described,
        transform_ops=operators,
        labels=described.labels if known else None if listed is None else (),
        document={"PostProcess": {TOPK: None}},
    )


def _decoding(options: Mapping[str, Any], source: Source) -> dict[str, Any]:
    mode = options.get("img_mode", "RGB")
    # of photos that a phone turned, it sees another image then
    unturned = options.get("ignore_orientation")
    if mode not in ("RGB", "BGR") or options.get("channel_first") or unturned:
        raise ConversionError(
            f"{source.path}: DecodeImage {dict(options)} is not known; images are decoded as RGB or"
            " BGR, in pixels, turned by their EXIF orientation; write a list of transform_ops and"
            " give it with --preprocess"
        )
    return {"to_rgb": mode == "RGB"}
