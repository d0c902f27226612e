"""Where preprocessing, labels and the kind of result come from.

In this order: overrides, a description beside the model, a label file beside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bundle.errors import BundleError
from bundle.inference_yml import InferenceDescription
from bundle.labels import read_labels

from ..errors import ConversionError
from ..reading.exported_model import ExportedModel
from ..reading.graph import GraphTensor
from .form import DEFAULT_TOPK, Source
from .forms import (
    description_beside,
    label_file_beside,
    label_files_beside,
    names_beside,
    read_description,
)
from .overrides import Overrides
from .presets import PRESETS, for_pixels


@dataclass(frozen=True)
class FoundDescription:
    """What was found on a model, before its outputs are looked at.

    Attributes:
        description: preprocessing, labels, and what was said of results.
        labels: those labels, which are known here.
        settled: it says what a result holds.
    """

    description: InferenceDescription
    labels: tuple[str, ...]
    settled: bool


def collect(
    export: ExportedModel, overrides: Overrides, warn: Callable[[str], None]
) -> FoundDescription:
    """Put together what options and files say of a model.

    Args:
        export: the model.
        overrides: they win over what lies beside the model.
        warn: gets one line on what could not be read and is not needed, or may be wrong.

    Raises:
        ConversionError: preprocessing or labels are given nowhere.
        BundleError: a file that is needed is not what it must be.
    """
    beside = _beside(export, overrides, warn)
    description, settled = _found(export, overrides, beside, warn)
    labels = description.labels
    label_file = overrides.labels or (label_file_beside(export.folder) if labels is None else None)
    if label_file is not None:
        labels = read_labels(label_file, warn)
    if labels is None:
        raise _no_labels(export.folder, beside.unreadable)
    if beside.unreadable:
        warn(
            "the description beside the model is unreadable and not needed; nothing of it is used:"
            f" {beside.unreadable}"
        )
    return FoundDescription(replace(description, labels=labels), labels, settled)


def _no_labels(folder: Path, unreadable: str) -> ConversionError:
    why = f" ({unreadable})" if unreadable else ""
    files = label_files_beside(folder)
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        return ConversionError(
            f"{folder}: holds {len(files)} label files ({names}){why}; choose one with --labels"
        )
    return ConversionError(
        f"{folder}: the names of the classes are unknown{why}; give --labels FILE, one label a"
        " line, the first is class 0"
    )


def labels_beside(export: ExportedModel) -> int | None:
    """How many labels lie beside a model; None if none do, or they are unreadable."""
    try:
        description = beside_the_model(export)
        labels = description.labels if description else None
        label_file = label_file_beside(export.folder)
        if labels is None and label_file is not None:
            labels = read_labels(label_file, lambda _: None)
    except (ConversionError, BundleError):
        return None
    return None if labels is None else len(labels)


def beside_the_model(export: ExportedModel) -> InferenceDescription | None:
    """The description that lies beside a model, where there is one; for `inspect`.

    Raises:
        ConversionError, BundleError: it is not readable.
    """
    file = description_beside(export.folder)
    return None if file is None else read_description(Source(file, (export.folder,)))


@dataclass(frozen=True)
class _Beside:
    """The description beside a model, and why it is None though a file is there."""

    description: InferenceDescription | None = None
    unreadable: str = ""


def _beside(export: ExportedModel, overrides: Overrides, warn: Callable[[str], None]) -> _Beside:
    """Read the description beside the model, as far as the overrides leave a need for it."""
    file = description_beside(export.folder)
    if file is None:
        return _Beside()
    source = Source(
        file,
        (export.folder,),
        need_labels=_lacks_labels(export, overrides) and not overrides.preprocess,
        labels_given=overrides.labels is not None,
        steps_given=overrides.preprocess is not None,
        warn=warn,
    )
    try:
        return _Beside(read_description(source))
    except (ConversionError, BundleError) as error:
        if overrides.preprocess is None:
            raise
        return _Beside(unreadable=str(error))


def _lacks_labels(export: ExportedModel, overrides: Overrides) -> bool:
    return overrides.labels is None and label_file_beside(export.folder) is None


def _found(
    export: ExportedModel, overrides: Overrides, found: _Beside, warn: Callable[[str], None]
) -> tuple[InferenceDescription, bool]:
    """The description, and whether it says what a result holds (a preset or a list does not)."""
    beside = found.description
    if overrides.preprocess is None:
        if beside is None:
            raise ConversionError(
                f"{export.folder}: holds no {names_beside()}, so how images are prepared is"
                " unknown; give --preprocess FILE (one of those, or a transform_ops list) or a"
                f" preset: {', '.join(PRESETS)}"
            )
        return beside, _says_what_a_result_holds(beside)
    lacks_labels = _lacks_labels(export, overrides) and (beside is None or not beside.labels)
    given = _preset(overrides.preprocess, export.graph.feeds[0]) or read_description(
        Source(
            _given_file(overrides.preprocess),
            (export.folder,),
            need_labels=lacks_labels,
            labels_given=overrides.labels is not None,
            warn=warn,
        )
    )
    if beside is None:
        return given, _says_what_a_result_holds(given)
    if _says_what_a_result_holds(given):
        return replace(given, labels=given.labels or beside.labels), True
    kept = replace(beside, transform_ops=given.transform_ops)
    return kept, _says_what_a_result_holds(beside)


def _says_what_a_result_holds(description: InferenceDescription) -> bool:
    return description.labels is not None or "PostProcess" in description.document


def _preset(name: str, feed: GraphTensor) -> InferenceDescription | None:
    if name not in PRESETS:
        return None
    operators = PRESETS[name]
    if _takes_pixels(feed):
        operators = for_pixels(operators)
    return InferenceDescription("", operators, topk=DEFAULT_TOPK)


def _given_file(preprocess: str) -> Path:
    path = Path(preprocess)
    if path.exists() and not path.is_dir():  # a pipe, <(...) of a shell, is as good as a file
        return path
    close = difflib.get_close_matches(preprocess.lower(), PRESETS, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    raise ConversionError(
        f"--preprocess {preprocess}: neither a file nor a preset ({', '.join(PRESETS)}){meant}"
    )


def _takes_pixels(feed: GraphTensor) -> bool:
    """[N, H, W, 3] and not [N, 3, H, W]."""
    return len(feed.shape) == 4 and feed.shape[3] == 3 and feed.shape[1] != 3
