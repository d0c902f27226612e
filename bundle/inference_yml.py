"""inference.yml: the description of preprocessing and labels that travels with a model.

Its form is the one that PaddleClas 2.6 and PaddleX 3 write beside an exported model: what is known
is read into `InferenceDescription`; what is not (Hpi and others) is kept and written back.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Dict, Hashable, List, Mapping, Optional, Tuple

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
    document = read_yaml(path)
    if not isinstance(document, dict):
        raise BundleError("{} must hold PreProcess and PostProcess".format(path))
    return description_of(document, str(path))


def read_yaml(path: Path) -> object:
    """Return what a YAML file in UTF-8 holds; a key given twice is an error.

    Raises:
        BundleError: missing, not UTF-8, or not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        document: object = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise BundleError("cannot read {}: {}".format(path, error.strerror)) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BundleError(
            "{} is not YAML in UTF-8: {}".format(path, " ".join(str(error).split()))
        ) from error
    return document


class _UniqueKeyLoader(yaml.SafeLoader):
    """SafeLoader that refuses a key given twice, where YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, "the key {!r} is given twice".format(key.value), key.start_mark
                    )
                seen.add(key.value)
        mapping: Dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping


def description_of(document: Mapping[str, Any], source: str) -> InferenceDescription:
    """Return the description that a loaded document holds; `source` names it in errors."""
    preprocess = _section(document, "PreProcess", source)
    if not isinstance(preprocess.get("transform_ops"), list) or not preprocess["transform_ops"]:
        raise BundleError("{}: PreProcess.transform_ops must be a list of operators".format(source))
    operators = tuple(_operator(entry, source) for entry in preprocess["transform_ops"])
    postprocess = _section(document, "PostProcess", source)
    if postprocess and "Topk" not in postprocess:
        raise BundleError(
            "{}: PostProcess holds {} and no Topk; only classifiers that give one answer a picture "
            "are served".format(source, ", ".join(map(str, postprocess)))
        )
    topk = _section(postprocess, "Topk", source)
    count = topk.get("topk", 1)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise BundleError("{}: PostProcess.Topk.topk must be 1 or more".format(source))
    return InferenceDescription(
        model_name=str(_section(document, "Global", source).get("model_name", "")),
        transform_ops=operators,
        topk=count,
        labels=_labels(topk.get("label_list"), source),
        document=document,
    )


def _labels(labels: object, source: str) -> Optional[Tuple[str, ...]]:
    if labels is None:
        return None
    if not isinstance(labels, list) or not labels:
        raise BundleError("{}: PostProcess.Topk.label_list must be a list".format(source))
    for class_id, label in enumerate(labels):
        # 007 or no without quotes are a number and a truth value; their text is lost
        if not isinstance(label, str):
            raise BundleError(
                "{}: label {} of PostProcess.Topk.label_list is {!r}, not text; "
                "put it in quotes".format(source, class_id, label)
            )
    return tuple(labels)


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
    postprocess = document["PostProcess"] = {**(document.get("PostProcess") or {})}
    topk = {**(postprocess.get("Topk") or {}), "topk": description.topk}
    topk.pop("label_list", None)
    if description.labels is not None:
        topk["label_list"] = list(description.labels)
    postprocess["Topk"] = topk
    with path.open("w", encoding="utf-8") as out:
        yaml.safe_dump(document, out, allow_unicode=True, sort_keys=False, width=1000)


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
