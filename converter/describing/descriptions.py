"""Where preprocessing, labels and the kind of answer come from.

In this order: options, a description beside the model (inference.yml, PaddleX' model.yml,
PaddleClas' inference_cls.yaml), a label file beside it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bundle.errors import BundleError
from bundle.inference_yml import DEFAULT_THRESHOLD, InferenceDescription, description_of
from bundle.labels import read_labels
from bundle.strict_yaml import read_yaml

from ..errors import ConversionError
from ..reading.exported_model import ExportedModel
from ..reading.graph import GraphTensor
from .paddleclas_yaml import is_deploy_yaml, is_training_yaml, read_deploy_yaml, read_training_yaml
from .paddlex_yml import is_paddlex_yml, read_paddlex_yml
from .presets import PRESETS, for_pixels

# Where no description says how many categories an answer holds; PaddleClas' own default.
DEFAULT_TOPK = 5


@dataclass(frozen=True)
class Wishes:
    """What a caller asks of a description; None and False leave it as it is found.

    Attributes:
        labels: a label file.
        preprocess: a description file of any known form, or a preset's name.
        topk: how many categories an answer holds.
        softmax: the graph gives logits; make probabilities of them.
        multi_label: each class has a score of its own; answer with all above the threshold.
        threshold: that threshold.
    """

    labels: Path | None = None
    preprocess: str | None = None
    topk: int | None = None
    softmax: bool = False
    multi_label: bool = False
    threshold: float | None = None


@dataclass(frozen=True)
class Gathered:
    """What was found on a model, before its outputs are looked at.

    Attributes:
        description: preprocessing, labels, and what was said of the answer.
        labels: those labels, which are known here.
        settled: it says how to answer.
    """

    description: InferenceDescription
    labels: tuple[str, ...]
    settled: bool


def gather(export: ExportedModel, wishes: Wishes, warn: Callable[[str], None]) -> Gathered:
    """Put together what options and files say of a model.

    Args:
        export: the model.
        wishes: what was asked; it wins over what lies beside the model.
        warn: is told, in one line, what could not be read and is not needed.

    Raises:
        ConversionError: preprocessing or labels are given nowhere.
        BundleError: a file that is needed is not what it must be.
    """
    beside = _beside(export, wishes)
    description, settled = _found(export, wishes, beside)
    labels = description.labels
    if wishes.labels is not None:
        labels = read_labels(wishes.labels)
    elif labels is None and export.label_file is not None:
        labels = read_labels(export.label_file)
    if labels is None:
        why = f" ({beside.unreadable})" if beside.unreadable else ""
        if len(export.label_files) > 1:
            names = ", ".join(path.name for path in export.label_files)
            raise ConversionError(
                f"{export.folder}: holds {len(export.label_files)} label files ({names}){why};"
                " choose one with --labels"
            )
        raise ConversionError(
            f"{export.folder}: the names of the classes are unknown{why}; give --labels FILE,"
            " one label a line, the first is class 0"
        )
    if beside.unreadable:
        warn(
            "the description beside the model is unreadable and not needed; nothing of it is used:"
            f" {beside.unreadable}"
        )
    return Gathered(replace(description, labels=labels), labels, settled)


def describe(gathered: Gathered, wishes: Wishes, activation: str) -> InferenceDescription:
    """Settle how a model is answered from an output that ends in `activation`.

    Raises:
        ConversionError: the wishes do not fit.
    """
    description = _with_answer(gathered.description, wishes, activation, settled=gathered.settled)
    return replace(description, topk=_topk(wishes.topk, description))


def labels_beside(export: ExportedModel) -> int | None:
    """How many labels lie beside a model; None if none do, or they are unreadable."""
    try:
        description = beside_the_model(export)
        labels = description.labels if description else None
        if labels is None and export.label_file is not None:
            labels = read_labels(export.label_file)
    except (ConversionError, BundleError):
        return None
    return None if labels is None else len(labels)


def beside_the_model(export: ExportedModel) -> InferenceDescription | None:
    """The description that lies beside a model, where there is one; for `inspect`.

    Raises:
        ConversionError, BundleError: it is not readable.
    """
    if export.description_file is None:
        return None
    return _read(export.description_file, export)


@dataclass(frozen=True)
class _Beside:
    """The description beside a model, and why it is None though a file is there."""

    description: InferenceDescription | None = None
    unreadable: str = ""


def _beside(export: ExportedModel, wishes: Wishes) -> _Beside:
    """Read the description beside the model, as far as the wishes leave a need for it."""
    if export.description_file is None:
        return _Beside()
    need_labels = wishes.labels is None and export.label_file is None
    try:
        description = _read(
            export.description_file,
            export,
            need_labels=need_labels and not wishes.preprocess,
            labels_given=wishes.labels is not None,
            steps_given=wishes.preprocess is not None,
        )
    except (ConversionError, BundleError) as error:
        if wishes.preprocess is None:
            raise
        return _Beside(unreadable=str(error))
    return _Beside(description)


def _found(
    export: ExportedModel, wishes: Wishes, found: _Beside
) -> tuple[InferenceDescription, bool]:
    """The description, and whether it says how to answer (a preset or a bare list does not)."""
    beside = found.description
    if wishes.preprocess is None:
        if beside is None:
            raise ConversionError(
                f"{export.folder}: holds no inference.yml, model.yml or inference_cls.yaml, so how"
                " pictures are prepared is unknown; give --preprocess FILE (one of those, or a"
                f" transform_ops list) or a preset: {', '.join(PRESETS)}"
            )
        return beside, _says_how_to_answer(beside)
    need_labels = wishes.labels is None and export.label_file is None
    given = _given(
        wishes.preprocess,
        export,
        need_labels=need_labels and (beside is None or not beside.labels),
        labels_given=wishes.labels is not None,
    )
    if beside is None:
        return given, _says_how_to_answer(given)
    if _says_how_to_answer(given):
        return replace(given, labels=given.labels or beside.labels), True
    kept = replace(beside, transform_ops=given.transform_ops)
    return kept, _says_how_to_answer(beside)


def _says_how_to_answer(description: InferenceDescription) -> bool:
    return description.labels is not None or "PostProcess" in description.document


def _given(
    preprocess: str, export: ExportedModel, *, need_labels: bool, labels_given: bool
) -> InferenceDescription:
    if preprocess in PRESETS:
        operators = PRESETS[preprocess]
        if _takes_pixels(export.graph.feeds[0]):
            operators = for_pixels(operators)
        return InferenceDescription("", operators, topk=DEFAULT_TOPK)
    path = Path(preprocess)
    if not path.exists() or path.is_dir():  # a pipe, <(...) of a shell, is as good as a file
        close = difflib.get_close_matches(preprocess.lower(), PRESETS, n=1)
        meant = f"; did you mean {close[0]}?" if close else ""
        raise ConversionError(
            f"--preprocess {preprocess}: neither a file nor a preset ({', '.join(PRESETS)}){meant}"
        )
    return _read(path, export, need_labels=need_labels, labels_given=labels_given)


def _takes_pixels(feed: GraphTensor) -> bool:
    """[N, H, W, 3] and not [N, 3, H, W]."""
    return len(feed.shape) == 4 and feed.shape[3] == 3 and feed.shape[1] != 3


def _read(
    path: Path,
    export: ExportedModel,
    *,
    need_labels: bool = False,
    labels_given: bool = False,
    steps_given: bool = False,
) -> InferenceDescription:
    """Read a description of any form that is known.

    Args:
        path: the file.
        export: the model it is for.
        need_labels: a label file that it names and that is not found is an error.
        labels_given: labels come from elsewhere; those in it may be anything, and are left out.
        steps_given: preprocessing comes from elsewhere, likewise.
    """
    document = read_yaml(path)
    if isinstance(document, dict):
        if is_paddlex_yml(document):
            if steps_given:
                document = {**document, "Transforms": []}
            return read_paddlex_yml(
                document, str(path), topk=DEFAULT_TOPK, labels_given=labels_given
            )
        if is_training_yaml(document) or is_deploy_yaml(document):
            read = read_training_yaml if is_training_yaml(document) else read_deploy_yaml
            return read(
                document,
                path,
                folders=[export.folder],
                need_labels=need_labels,
                labels_given=labels_given,
            )
        if "PreProcess" in document:
            if labels_given:
                document = _without_labels(document)
            return description_of(document, str(path))
        document = document.get("transform_ops")
    if not isinstance(document, list):
        raise BundleError(
            f"{path}: holds none of PreProcess (inference.yml, inference_cls.yaml), Transforms"
            " (model.yml), Infer (a training configuration), and no list of transform_ops"
        )
    described = description_of({"PreProcess": {"transform_ops": document}}, str(path))
    return InferenceDescription("", described.transform_ops, topk=DEFAULT_TOPK)


def _without_labels(document: Mapping[str, Any]) -> dict[str, Any]:
    """An inference.yml without its lists of labels."""
    postprocess = document.get("PostProcess")
    if not isinstance(postprocess, dict):
        return dict(document)
    kept = {
        name: {key: value for key, value in section.items() if key != "label_list"}
        if isinstance(section, dict)
        else section
        for name, section in postprocess.items()
    }
    return {**document, "PostProcess": kept}


def _with_answer(
    description: InferenceDescription, wishes: Wishes, activation: str, *, settled: bool
) -> InferenceDescription:
    """Decide between one answer and several, and what makes scores of logits."""
    multi_label = description.multi_label or wishes.multi_label
    # A sigmoid at the end is a model of several labels a picture, unless a description says Topk.
    if activation == "sigmoid" and not settled:
        multi_label = True
    if wishes.softmax and (activation != "none" or multi_label):
        raise ConversionError(
            "--softmax: the graph ends with a softmax already; leave the option out"
            if activation == "softmax"
            else "--softmax: the model gives each class a score of its own (sigmoid); leave it out"
        )
    if wishes.multi_label and activation == "softmax":
        raise ConversionError(
            "--multi-label: the graph ends with a softmax, whose scores add up to 1; leave it out"
        )
    if wishes.threshold is not None and not multi_label:
        raise ConversionError(
            "--threshold: belongs to models of several labels a picture; give --multi-label, or"
            " set threshold in the service's configuration"
        )
    if wishes.threshold is not None and not 0 <= wishes.threshold <= 1:
        raise ConversionError(f"--threshold {wishes.threshold}: must be from 0 to 1")
    wanted = description.activation
    if wishes.softmax:
        wanted = "softmax"
    elif multi_label and activation == "none":
        wanted = "sigmoid"
    threshold: float | None = None
    if multi_label:
        found = description.threshold if description.threshold is not None else DEFAULT_THRESHOLD
        threshold = found if wishes.threshold is None else wishes.threshold
    return replace(
        description,
        multi_label=multi_label,
        threshold=threshold,
        activation=wanted,
        topk=description.topk if multi_label == description.multi_label else 0,
    )


def _topk(asked: int | None, description: InferenceDescription) -> int:
    classes = len(description.labels or ())
    if asked is not None and not 1 <= asked <= classes:
        raise ConversionError(f"--topk {asked}: must be from 1 to the number of classes, {classes}")
    return asked or min(description.topk, classes)
