"""inference.yml: the description of preprocessing and labels that travels with a model.

Its form is the one that PaddleClas 2.6 and PaddleX 3 write beside an exported model: what is known
is read into `InferenceDescription`; what is not (Hpi and others) is kept and written back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Tuple

import yaml

from .errors import BundleError


@dataclass(frozen=True)
class TransformOp:
    """One step of preprocessing, for example `ResizeImage` with `{"resize_short": 256}`."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class InferenceDescription:
    """What a model needs done before and after it.

    `topk` is how many categories an answer holds unless the caller says; `labels` is None where
    the description has none. `document` is the whole file, kept for what is not read.
    """

    model_name: str
    transform_ops: Tuple[TransformOp, ...]
    topk: int = 1
    labels: Optional[Tuple[str, ...]] = None
    document: Mapping[str, Any] = field(default_factory=dict, compare=False)


def read_inference_yml(path: Path) -> InferenceDescription:
    """Read `path`.

    Raises:
        BundleError: missing, not YAML, or a part that is read is not as it should be.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise BundleError("cannot read {}: {}".format(path, error.strerror)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BundleError(
            "{} is not YAML in UTF-8: {}".format(path, " ".join(str(error).split()))
        ) from error
    if not isinstance(document, dict):
        raise BundleError("{} must hold PreProcess and PostProcess".format(path))
    return description_of(document, str(path))


def description_of(document: Mapping[str, Any], source: str) -> InferenceDescription:
    """Return the description that a loaded document holds; `source` names it in errors."""
    preprocess = _section(document, "PreProcess", source)
    if not isinstance(preprocess.get("transform_ops"), list):
        raise BundleError("{}: PreProcess.transform_ops must be a list of operators".format(source))
    operators = tuple(_operator(entry, source) for entry in preprocess["transform_ops"])
    topk = _section(_section(document, "PostProcess", source), "Topk", source)
    labels = topk.get("label_list")
    if labels is not None and not isinstance(labels, list):
        raise BundleError("{}: PostProcess.Topk.label_list must be a list".format(source))
    count = topk.get("topk", 1)
    if not isinstance(count, int) or count < 1:
        raise BundleError("{}: PostProcess.Topk.topk must be 1 or more".format(source))
    return InferenceDescription(
        model_name=str(_section(document, "Global", source).get("model_name", "")),
        transform_ops=operators,
        topk=count,
        labels=tuple(str(label) for label in labels) if labels else None,
        document=document,
    )


def write_inference_yml(description: InferenceDescription, path: Path) -> None:
    """Write `description`, with what its document held besides."""
    document: Dict[str, Any] = copy.deepcopy(dict(description.document))
    document.setdefault("Global", {})
    if description.model_name:
        document["Global"]["model_name"] = description.model_name
    operators: List[Dict[str, Any]] = [
        {operator.name: dict(operator.options) or None} for operator in description.transform_ops
    ]
    document["PreProcess"] = {**document.get("PreProcess", {}), "transform_ops": operators}
    postprocess = document.setdefault("PostProcess", {})
    topk = {**(postprocess.get("Topk") or {}), "topk": description.topk}
    if description.labels is not None:
        topk["label_list"] = list(description.labels)
    postprocess["Topk"] = topk
    with path.open("w", encoding="utf-8") as out:
        yaml.safe_dump(document, out, allow_unicode=True, sort_keys=False)


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
