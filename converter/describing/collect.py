"""Where preprocessing, labels and the kind of result come from.

In this order: overrides, a description beside the model, a label file beside it, the graph.
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
from .beside import (
    description_beside,
    descriptions_beside,
    label_file_beside,
    label_files_beside,
    label_links_beside,
    names_beside,
    unusable_beside,
)
from .contradiction import described_otherwise, other_descriptions
from .form import DEFAULT_TOPK, Source
from .forms import read_description, read_metadata
from .overrides import Overrides
from .presets import for_graph, preset, preset_names
from .producers import foreign_preset_warning, preset_advice
from .two_label_sources import of_description_or_file


@dataclass(frozen=True)
class FoundDescription:
    """What was found on a model, before its outputs are looked at.

    Attributes:
        description: preprocessing, labels, and what was said of results.
        labels: those labels, which are known here.
        labels_file: the file that they stand in.
        settled: it says what a result holds.
        file: the description beside the model; None if there is none, or several that differ.
    """

    description: InferenceDescription
    labels: tuple[str, ...]
    labels_file: Path
    settled: bool
    file: Path | None


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
    found, settled = _found(export, overrides, beside, warn)
    labels, labels_file = found.description.labels, found.labels_file
    label_file = overrides.labels or label_file_beside(export.folder)
    if label_file is not None and labels and overrides.labels is None:
        labels, labels_file = of_description_or_file(labels, labels_file, label_file, warn)
    elif label_file is not None:
        labels, labels_file = read_labels(label_file, warn), label_file
    of_graph = export.graph.labels
    if labels is None and of_graph is not None:
        labels, labels_file = of_graph, export.model_file
    if labels is None:
        raise _no_labels(export.folder, beside.unreadable or beside.several)
    if beside.unreadable:
        warn(
            "the description beside the model is unreadable and not needed; nothing of it is used:"
            f" {beside.unreadable}"
        )
    _check_order(labels, labels_file, export)
    described = replace(found.description, labels=labels)
    return FoundDescription(described, labels, labels_file, settled, beside.file)


def _check_order(labels: tuple[str, ...], file: Path, export: ExportedModel) -> None:
    """Compare labels with the classes that the graph names itself.

    Raises:
        ConversionError: they are the same in another order, so that every result would have a wrong
            name.
    """
    of_graph = export.graph.labels
    if of_graph is None or labels == of_graph or set(labels) != set(of_graph):
        return
    at = next(i for i, (a, b) in enumerate(zip(labels, of_graph, strict=False)) if a != b)
    raise ConversionError(
        f"{file}: has the classes of the graph in another order: class {at} is {labels[at]!r} there"
        f" and {of_graph[at]!r} in {export.model_file.name}; leave the labels out, and those of the"
        " graph are taken"
    )


def _no_labels(folder: Path, unreadable: str) -> ConversionError:
    why = f" ({unreadable})" if unreadable else ""
    files = label_files_beside(folder)
    if len(files) > 1:
        names = ", ".join(path.name for path in files)
        return ConversionError(
            f"{folder}: holds {len(files)} label files ({names}){why}; choose one with --labels"
        )
    for link in label_links_beside(folder):
        why += f" ({link.name} is a link that leads out of the folder, and is not followed)"
    return ConversionError(
        f"{folder}: the names of the classes are unknown{why}; give --labels FILE, one label a"
        " line, the first is class 0"
    )


def labels_beside(export: ExportedModel) -> tuple[str, ...] | None:
    """The labels beside a model or in its graph; None if there are none, or they are unreadable."""
    try:
        description = beside_the_model(export)
        labels = description.labels if description else None
        label_file = label_file_beside(export.folder)
        if labels is None and label_file is not None:
            labels = read_labels(label_file, lambda _: None)
    except (ConversionError, BundleError):
        return None
    return export.graph.labels if labels is None else labels


def beside_the_model(export: ExportedModel) -> InferenceDescription | None:
    """The description that lies beside a model, where there is one; for `inspect`.

    Raises:
        ConversionError, BundleError: it is not readable.
    """
    file = description_beside(export.folder)
    if file is not None:
        return read_description(Source(file, (export.folder,), graph=export.graph))
    return read_metadata(Source(export.model_file, graph=export.graph))


@dataclass(frozen=True)
class _Read:
    """A description, and the file its labels stand in: its own, or the one that it names."""

    description: InferenceDescription
    labels_file: Path

    @property
    def settled(self) -> bool:
        """Whether it says what a result holds; a preset or a list does not."""
        return "PostProcess" in self.description.document


@dataclass(frozen=True)
class _Beside:
    """The description beside a model, its file, and why it is None though files are there."""

    file: Path | None = None
    read: _Read | None = None
    unreadable: str = ""
    several: str = ""


def _read(source: Source) -> _Read:
    named: list[Path] = []
    description = read_description(replace(source, note_label_file=named.append))
    return _Read(description, named[-1] if named else source.path)


def _beside(export: ExportedModel, overrides: Overrides, warn: Callable[[str], None]) -> _Beside:
    """Read the description beside the model, or within, as far as the overrides need one."""
    try:
        file = description_beside(export.folder)
    except ConversionError as error:
        if overrides.preprocess is None:
            raise
        return _Beside(several=str(error))
    try:
        source = Source(
            file or export.model_file,
            (export.folder,),
            need_labels=_lacks_labels(export, overrides) and not overrides.preprocess,
            labels_given=overrides.labels is not None,
            steps_given=overrides.preprocess is not None,
            warn=warn,
            graph=export.graph,
        )
        if file is not None:
            read = _read(source)
            odd = other_descriptions(
                read.description.transform_ops, source, descriptions_beside(export.folder)
            )
            if odd and overrides.preprocess is None:
                warn(odd)
            return _Beside(file, read)
        within = read_metadata(source)
        return _Beside(None, None if within is None else _Read(within, source.path))
    except (ConversionError, BundleError) as error:
        if overrides.preprocess is None:
            raise
        return _Beside(file, unreadable=str(error))


def _lacks_labels(export: ExportedModel, overrides: Overrides) -> bool:
    known = export.graph.labels or label_file_beside(export.folder)
    return overrides.labels is None and known is None


def _found(
    export: ExportedModel, overrides: Overrides, found: _Beside, warn: Callable[[str], None]
) -> tuple[_Read, bool]:
    """The description, and whether it says what a result holds."""
    beside = found.read
    if overrides.preprocess is None:
        if beside is None:
            raise _no_description(export)
        return beside, beside.settled
    given = _given(export, overrides, found, warn)
    if beside is None:
        return given, given.settled
    settling = given if given.settled else beside
    labelled = beside if given.description.labels is None else given
    description = replace(
        settling.description,
        transform_ops=given.description.transform_ops,
        labels=labelled.description.labels,
    )
    return _Read(description, labelled.labels_file), settling.settled


def _given(
    export: ExportedModel,
    overrides: Overrides,
    found: _Beside,
    warn: Callable[[str], None],
) -> _Read:
    """What --preprocess names."""
    name, beside = str(overrides.preprocess), found.read
    named = _preset(name, export, found, warn)
    if named is not None:
        return _Read(named, export.folder)
    lacks_labels = _lacks_labels(export, overrides)
    return _read(
        Source(
            _given_file(name),
            (export.folder,),
            need_labels=lacks_labels and (beside is None or not beside.description.labels),
            labels_given=overrides.labels is not None,
            warn=warn,
            graph=export.graph,
        )
    )


def _no_description(export: ExportedModel) -> ConversionError:
    unusable = unusable_beside(export.folder)
    what = (
        f"{unusable[0]}; mend that file, or"
        if unusable
        else f"{export.folder}: nothing there says how images are prepared: no {names_beside()},"
        " and no file of another name that holds the same;"
    )
    return ConversionError(
        f"{what} give --preprocess FILE (a description or a transform_ops list) or a preset"
        f" ({preset_advice(export.graph)}all: {', '.join(preset_names())})"
    )


def _preset(
    name: str, export: ExportedModel, found: _Beside, warn: Callable[[str], None]
) -> InferenceDescription | None:
    named = preset(name)
    if named is None:
        return None
    graph = export.graph
    operators = for_graph(named, graph)
    source = Source(found.file or export.model_file, (export.folder,), graph=graph)
    odd = found.read and described_otherwise(name, operators, source, beside=bool(found.file))
    odd = odd or foreign_preset_warning(name, graph)
    if odd:
        warn(odd)
    return InferenceDescription("", operators, topk=DEFAULT_TOPK)


def _given_file(preprocess: str) -> Path:
    path = Path(preprocess)
    if path.exists() and not path.is_dir():  # a pipe, <(...) of a shell, is as good as a file
        return path
    names = preset_names()
    close = difflib.get_close_matches(preprocess.partition(":")[0].lower(), names, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    raise ConversionError(
        f"--preprocess {preprocess}: neither a file nor a preset ({', '.join(names)}){meant}"
    )
