"""inference.yml: the description of preprocessing and labels that travels with a model.

Its form is the one that PaddleClas 2.6 and PaddleX 3 write beside an exported model: what is known
is read into `InferenceDescription`; what is not (Hpi and others) is kept and written back.

PostProcess holds `Topk` (the best categories of an image), `MultiLabelThreshOutput` (every category
above a threshold), or PaddleClas' `ThreshOutput` (of two classes, the second from a threshold on).
`Softmax`, `Sigmoid` or `Logits` before them is ours: for a graph that gives raw logits, which
PaddleClas and PaddleX never export.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import yaml

from .errors import BundleError
from .label_documents import label_text
from .strict_yaml import LABEL_KEYS, DocumentDumper, read_yaml
from .thresholds import DEFAULT_THRESHOLD, Thresholds, read_threshold, read_thresholds

TOPK, MULTI_LABEL, TWO_CLASSES = KINDS = ("Topk", "MultiLabelThreshOutput", "ThreshOutput")
# Operators of PostProcess that say what becomes of logits, and what they are called elsewhere.
ACTIVATIONS = {"Softmax": "softmax", "Sigmoid": "sigmoid", "Logits": "none"}


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
    of its own, and answers with those that reach their threshold of `thresholds`. A model with
    a `positive_threshold` has two classes, and decides for the second from this score of it on.
    `activation`, "softmax" or "sigmoid", makes scores of the graph's logits; "none" says that they
    are returned as they are. `document` is the whole file, kept for what is not read.
    """

    model_name: str
    transform_ops: Tuple[TransformOp, ...]
    topk: int = 1
    labels: Optional[Tuple[str, ...]] = None
    multi_label: bool = False
    thresholds: Optional[Thresholds] = None
    activation: Optional[str] = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)
    positive_threshold: Optional[float] = None

    @property
    def kind(self) -> str:
        """What a result holds, as PostProcess calls it: one of `KINDS`."""
        if self.multi_label:
            return MULTI_LABEL
        return TOPK if self.positive_threshold is None else TWO_CLASSES

    def contradiction(self, ending: Optional[str]) -> str:
        """What it says against the graph, which ends in `ending`, or leaves open; "" if nothing.

        `ending` is as `Bundle.output_activation`. A conversion refuses such a model; bundles that
        were converted before, or edited by hand, are served with a warning.
        """
        if self.multi_label and ending in ("softmax", "log_softmax"):
            return (
                "the description says that an image may have several labels, and the graph ends "
                "with a softmax, whose scores add up to 1, so at most one label reaches 0.5; "
                "convert a model with a sigmoid, or this one with --single-label"
            )
        if self.activation is None and ending in ("none", "log_softmax", "log_sigmoid"):
            kind = "raw logits" if ending == "none" else "logarithms"
            return (
                "the graph has no softmax or sigmoid at its end, so the scores are {}; convert it "
                "again with --softmax or --multi-label, or with --logits if they are meant "
                "so".format(kind)
            )
        return ""

    def check_classes(self, classes: int, source: str) -> None:
        """Compare what a result holds with the number of classes; `source` names the description.

        Raises:
            BundleError: thresholds are of other classes, or there are not two classes to decide
                between.
        """
        where = "{}: PostProcess.{}".format(source, self.kind)
        if self.thresholds is not None:
            self.thresholds.check(classes, where + ".threshold")
        if self.positive_threshold is not None and classes != 2:
            raise BundleError(
                "{} decides between two classes, and the model has {}; write {} in its "
                "place".format(where, classes, TOPK)
            )


def read_inference_yml(path: Path) -> InferenceDescription:
    """Read `path`.

    Raises:
        BundleError: missing, not YAML, or a part that is read is not as it should be.
    """
    if path.exists() and not path.is_file():  # a pipe would be waited for without an end
        raise BundleError("{} is no file; convert the model again".format(path))
    document = read_yaml(path, label_keys=LABEL_KEYS)
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
    kinds = [name for name in KINDS if name in postprocess]
    if len(kinds) > 1 or (postprocess and not kinds):
        raise BundleError(
            "{}: PostProcess holds {}; a classifier has one of {}".format(
                source, ", ".join(map(str, postprocess)), ", ".join(KINDS)
            )
        )
    kind = kinds[0] if kinds else TOPK
    section = _section(postprocess, kind, source)
    where = "{}: PostProcess.{}".format(source, kind)
    given = section.get("threshold", None if kind == TWO_CLASSES else DEFAULT_THRESHOLD)
    description = InferenceDescription(
        model_name=str(_section(document, "Global", source).get("model_name", "")),
        transform_ops=operators,
        topk=_topk(section.get("topk", 0 if kind == MULTI_LABEL else 1), kind, where),
        labels=_labels(section, kind, where),
        multi_label=kind == MULTI_LABEL,
        thresholds=read_thresholds(given, where + ".threshold") if kind == MULTI_LABEL else None,
        activation=_activation(postprocess, source),
        document=document,
        positive_threshold=(
            read_threshold(given, where + ".threshold") if kind == TWO_CLASSES else None
        ),
    )
    if description.labels:
        description.check_classes(len(description.labels), source)
    return description


def _topk(count: object, kind: str, where: str) -> int:
    least = 0 if kind == MULTI_LABEL else 1
    if isinstance(count, bool) or not isinstance(count, int) or count < least:
        raise BundleError("{}.topk must be {} or more".format(where, least))
    return count


def _activation(postprocess: Mapping[str, Any], source: str) -> Optional[str]:
    found = [kind for name, kind in ACTIVATIONS.items() if name in postprocess]
    if len(found) > 1:
        raise BundleError(
            "{}: PostProcess holds two of {}; keep one".format(source, ", ".join(ACTIVATIONS))
        )
    return found[0] if found else None


def _labels(section: Mapping[str, Any], kind: str, where: str) -> Optional[Tuple[str, ...]]:
    labels = section.get("label_list")
    if labels is None and kind == TWO_CLASSES and {"label_0", "label_1"} & set(section):
        return tuple(
            label_text(section.get("label_{}".format(number), str(number)), number, where)
            for number in (0, 1)
        )
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
    kind = description.kind
    section = {**(kept.get(kind) or {})}
    if description.thresholds is not None:
        section["threshold"] = description.thresholds.written()
    if description.positive_threshold is not None:
        section["threshold"] = description.positive_threshold
    if description.topk or "topk" in section:
        section["topk"] = description.topk
    for name in ("label_list", "label_0", "label_1"):
        section.pop(name, None)
    if description.labels is not None:
        section["label_list"] = list(description.labels)
    postprocess: Dict[str, Any] = {
        name: None
        for name, activation in ACTIVATIONS.items()
        if activation == description.activation
    }
    for name, value in kept.items():
        if name not in ACTIVATIONS and name not in KINDS:
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
