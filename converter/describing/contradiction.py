"""Several places that say how images are prepared, and do not say the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from bundle.errors import BundleError
from bundle.inference_yml import TransformOp
from pipeline.predictors.feed import SURVEY_SIZE, size_taken
from pipeline.stages.errors import PreprocessError
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import ServingError

from ..errors import ConversionError
from .form import Source
from .forms import read_description, read_metadata

# Of the scale 0.00392157 in place of 1/255; another filter differs by far more.
_ROUNDING = 1e-3


def described_otherwise(
    name: str, operators: Sequence[TransformOp], source: Source, *, beside: bool
) -> str:
    """One line on a description that prepares images otherwise than a preset; "" if none does.

    Args:
        name: of the preset.
        operators: of the preset.
        source: the description, or the model.
        beside: it is a file beside the model, and not within it.
    """
    described = _operators(source, beside=beside)
    if not _differ(operators, described):
        return ""
    return (
        f"--preprocess {name} prepares images otherwise than {source.path} says, and is used; leave"
        " the option out for what stands there"
    )


def other_descriptions(
    operators: Sequence[TransformOp], source: Source, others: Sequence[Path]
) -> str:
    """One line on files beside a description that prepare images otherwise; "" if none does.

    Args:
        operators: of the description, which is used.
        source: the description.
        others: files beside the model that a form recognises.
    """
    names = [
        path.name
        for path in others
        if path != source.path and _differ(operators, _operators(replace(source, path=path)))
    ]
    if not names:
        return ""
    return (
        f"images are prepared as {source.path} says, and otherwise than {', '.join(names)} beside"
        " it says; if that is the right one, give it with --preprocess"
    )


def _operators(source: Source, *, beside: bool = True) -> tuple[TransformOp, ...]:
    """The operators of a description or of a model's metadata; none if it cannot be read."""
    source = replace(source, labels_given=True, steps_given=False, warn=lambda _: None)
    try:
        described = read_description(source) if beside else read_metadata(source)
    except (ConversionError, BundleError):
        return ()
    return () if described is None else described.transform_ops


def _differ(first: Sequence[TransformOp], second: Sequence[TransformOp]) -> bool:
    """Whether two lists give different arrays of one image of noise; an empty list says nothing."""
    if not first or not second:
        return False
    try:
        prepare, other = build_preprocess(first), build_preprocess(second)
        size = size_taken(other, size_taken(prepare, SURVEY_SIZE))
        image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
        arrays = prepare(image), other(image)
    except (PreprocessError, ServingError):
        return False  # the checks that follow say so
    alike = arrays[0].shape == arrays[1].shape
    return not alike or float(np.abs(arrays[0] - arrays[1]).max()) > _ROUNDING
