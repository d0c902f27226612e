"""PaddleClas' post-processing -> the kinds of result that are served.

Each function takes the options of a class of ppcls.data.postprocess and returns the options of
the kind that gives the same result, with a note where PaddleClas says it in other words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from bundle.inference_yml import KINDS, MULTI_LABEL, TOPK

from ..errors import ConversionError
from .form import Source

Options = Mapping[str, Any]
Section = dict[str, dict[str, Any]]

_DISTILLATION = "DistillationPostProcess"
# Its options that say which of the networks is exported, and which of its outputs.
_OF_DISTILLATION = ("func", "model_name", "key")


def served_section(name: str, options: Options, source: Source) -> Section:
    """The section of PostProcess, of one of `KINDS`, that stands for the class `name`.

    Raises:
        ConversionError: it is of no classifier, or of a kind that is not known here.
    """
    if name == _DISTILLATION:
        rest = {key: value for key, value in options.items() if key not in _OF_DISTILLATION}
        name, options = str(options.get("func", TOPK)), rest
    if name in KINDS:
        return {name: dict(options)}
    if name in _TRANSLATED:
        return {MULTI_LABEL: {**_kept(options), **_TRANSLATED[name](options)}}
    if name in _ATTRIBUTES:
        source.warn(
            f"{source.path}: {name} is served as {MULTI_LABEL}: a result holds every attribute that"
            " reaches its threshold, which PaddleClas calls output; its sentences, and the best of"
            " a group below the threshold, are not made"
        )
        return {MULTI_LABEL: {**_kept(options), "threshold": _ATTRIBUTES[name](options)}}
    raise ConversionError(
        f"{source.path}: PostProcess is {name}, which {_what(name)}; served are {', '.join(KINDS)},"
        f" {', '.join(_ATTRIBUTES)}. If the model gives a score for each class, give its"
        " transform_ops as a list with --preprocess, and --labels"
    )


def _what(name: str) -> str:
    if name == "ScoreOutput":
        return "is of a model that gives one number and no classes"
    return "is not known here"


def _kept(options: Options) -> dict[str, Any]:
    return {key: options[key] for key in ("class_id_map_file", "delimiter") if key in options}


def _person(options: Options) -> dict[object, Any]:
    """Of 26 attributes: glasses are the second, what is held in front the nineteenth."""
    return {
        "default": options.get("threshold", 0.5),
        1: options.get("glasses_threshold", 0.3),
        18: options.get("hold_threshold", 0.6),
    }


def _vehicle(options: Options) -> list[Any]:
    """Ten colours, then nine types."""
    colour, kind = (options.get(f"{part}_threshold", 0.5) for part in ("color", "type"))
    return [colour] * 10 + [kind] * 9


def _table(options: Options) -> list[Any]:
    parts = ("source", "number", "color", "clarity", "obstruction", "angle")
    return [options.get(f"{part}_threshold", 0.5) for part in parts]


_ATTRIBUTES: dict[str, Callable[[Options], object]] = {
    "PersonAttribute": _person,
    "VehicleAttribute": _vehicle,
    "TableAttribute": _table,
    "FaceAttribute": lambda options: options.get("threshold", 0.65),
}
# Of PaddleClas 2.2: its topk had no effect.
_TRANSLATED: dict[str, Callable[[Options], dict[str, Any]]] = {
    "MultiLabelTopk": lambda _: {"threshold": 0.5},
}
