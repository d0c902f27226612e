"""inference.yml: the description of preprocessing and labels that travels with a model.

Its form is the one that PaddleClas 2.6 and PaddleX 3 write beside an exported model: what is known
is read into `InferenceDescription`; what is not (Hpi and others) is kept and written back.

PostProcess holds `Topk` (the best categories of an image) or `MultiLabelThreshOutput` (every
category above a threshold). `Softmax` or `Sigmoid` before them is ours: for a graph that gives raw
logits, which PaddleClas and PaddleX never export.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import yaml

from .errors import BundleError
from .labels import label_text
from .strict_yaml import DocumentDumper, read_yaml

TOPK, MULTI_LABEL = "Topk", "MultiLabelThreshOutput"
# Operators of PostProcess that make scores of logits, and what they are called elsewhere.
ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid"}
DEFAULT_THRESHOLD = 0.5  # PaddleClas' own


@dataclass(frozen=True)
class TransformOp:
    """One step of preprocessing, for example `ResizeImage` with `{"resize_short": 256}`."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class InferenceDescription:
    """What a model needs done before and after it.

    `topk` is how many categories an answer holds unless the caller says, 0 for all of them;
    `labels` is None where the description has none. A `multi_label` model gives each class a score
    of its own, and answers with those that reach `threshold`. `activation`, "softmax" or "sigmoid",
    makes scores of the graph's logits. `document` is the whole file, kept for what is not read.
    """

    model_name: str
    transform_ops: Tuple[TransformOp, ...]
    topk: int = 1
    labels: Optional[Tuple[str, ...]] = None
    multi_label: bool = False
    threshold: Optional[float] = None
    activation: Optional[str] = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)


def read_inference_yml(path: Path) -> InferenceDescription:
    """Read `path`.

    Raises:
        BundleError: missing, not YAML, or a part that is read is not as it should be.
    """
    document = read_yaml(path, label_keys=("label_list",))
    if not isinstance(document, dict):
        raise BundleError("{} must hold PreProcess and PostProcess".format(path))
    return description_of(document, str(path))


def description_of(document: Mapping[str, Any], source: str) -> InferenceDescription:
    """Return the description that a loaded document holds; `source` names it in errors."""
    preprocess = _section(document, "PreProcess", source)
    if not isinstance(preprocess.get("transform_ops"), list) or not preprocess["transform_ops"]:
        raise BundleError("{}: PreProcess.transform_ops must be a list of operators".format(source))
    operators = tuple(_operator(entry, source) for entry in preprocess["transform_ops"])
    postprocess = _section(document, "PostProcess", source)
    kinds = [name for name in (TOPK, MULTI_LABEL) if name in postprocess]
    if len(kinds) > 1 or (postprocess and not kinds):
        raise BundleError(
            "{}: PostProcess holds {}; a classifier has one of {} and {}".format(
                source, ", ".join(map(str, postprocess)), TOPK, MULTI_LABEL
            )
        )
    kind = kinds[0] if kinds else TOPK
    section = _section(postprocess, kind, source)
    where = "{}: PostProcess.{}".format(source, kind)
    return InferenceDescription(
        model_name=str(_section(document, "Global", source).get("model_name", "")),
        transform_ops=operators,
        topk=_topk(section.get("topk", 0 if kind == MULTI_LABEL else 1), kind, where),
        labels=_labels(section.get("label_list"), where),
        multi_label=kind == MULTI_LABEL,
        threshold=_threshold(section.get("threshold", DEFAULT_THRESHOLD), where)
        if kind == MULTI_LABEL
        else None,
        activation=_activation(postprocess, source),
        document=document,
    )


def _topk(count: object, kind: str, where: str) -> int:
    least = 0 if kind == MULTI_LABEL else 1
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise BundleError("{}.topk must be {} or more".format(where, least))
    return count


def _threshold(threshold: object, where: str) -> float:
    number = isinstance(threshold, (int, float)) and not isinstance(threshold, bool)
    if not number or not 0 <= float(threshold) <= 1:  # type: ignore[arg-type]
        raise BundleError("{}.threshold must be a number from 0 to 1".format(where))
    return float(threshold)  # type: ignore[arg-type]


def _activation(postprocess: Mapping[str, Any], source: str) -> Optional[str]:
    found = [kind for name, kind in ACTIVATIONS.items() if name in postprocess]
    if len(found) > 1:
        raise BundleError("{}: PostProcess holds Softmax and Sigmoid; keep one".format(source))
    return found[0] if found else None


def _labels(labels: object, where: str) -> Optional[Tuple[str, ...]]:
    if labels is None:
        return None
    if not isinstance(labels, list) or not labels:
        raise BundleError("{}.label_list must be a list".format(where))
    source = where + ".label_list"
    return tuple(label_text(label, class_id, source) for class_id, label in enumerate(labels))


def write_inference_yml(description: InferenceDescription, path: Path) -> None:
    """Write `description`, with what its document held besides."""
    document: Dict[str, Any] = copy.deepcopy(dict(description.document))
    if description.model_name:
        document["Global"] = {**(document.get("Global") or {})}
        document["Global"]["model_name"] = description.model_name
    operators: List[Dict[str, Any]] = [
        {operator.name: dict(operator.options) or None} for operator in description.transform_ops
    ]
    document["PreProcess"] = {**(document.get("PreProcess") or {}), "transform_ops": operators}
    document["PostProcess"] = _postprocess(description, document.get("PostProcess") or {})
    with path.open("w", encoding="utf-8") as out:
        yaml.dump(
            document,
            out,
            DocumentDumper,
            allow_unicode=True,
            sort_keys=False,
            width=1000,
        )


def _postprocess(description: InferenceDescription, kept: Mapping[str, Any]) -> Dict[str, Any]:
    kind, other = (MULTI_LABEL, TOPK) if description.multi_label else (TOPK, MULTI_LABEL)
    section = {**(kept.get(kind) or {})}
    if description.multi_label:
        section["threshold"] = description.threshold
    if description.topk or "topk" in section:
        section["topk"] = description.topk
    section.pop("label_list", None)
    if description.labels is not None:
        section["label_list"] = list(description.labels)
    postprocess: Dict[str, Any] = {
        name: None
        for name, activation in ACTIVATIONS.items()
        if activation == description.activation
    }
    for name, value in kept.items():
        if name not in ACTIVATIONS and name != other:
            postprocess[name] = value
    postprocess[kind] = section
    return postprocess


def _section(document: Mapping[str, Any], name: str, source: str) -> Mapping[str, Any]:
    section = document.get(name) or {}
    if not isinstance(section, dict):
        raise BundleError("{}: {} must hold keys, not {!r}".format(source, name, section))
    return section


def _operator(entry: Any, source: str) -> TransformOp:  # noqa: ANN401 - YAML
    if isinstance(entry, str):
        return TransformOp(entry, {})
    if not isinstance(entry, dict) or len(entry) != 1:
        raise BundleError(
            "{}: each entry of transform_ops is one operator, not {!r}".format(source, entry)
        )
    name, options = next(iter(entry.items()))
    if options is not None and not isinstance(options, dict):
        raise BundleError("{}: {} must hold options, not {!r}".format(source, name, options))
    return TransformOp(str(name), options or {})
