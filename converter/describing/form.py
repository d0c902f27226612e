"""What a description form is: how a file of it is recognised and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bundle.inference_yml import InferenceDescription

from ..reading.graph import Graph

# Where no description says how many categories a result holds; PaddleClas' own default.
DEFAULT_TOPK = 5


def _no_warning(_text: str) -> None:
    """The default of `Source.warn`: `inspect` shows what is there and warns of nothing."""


def _no_note(_path: Path) -> None:
    """The default of `Source.note_label_file`."""


@dataclass(frozen=True)
class Source:
    """Where a description comes from, and what is needed of it.

    Attributes:
        path: the file, named in errors; label files that it names are looked for near it.
        folders: where else they are looked for.
        need_labels: a label file that it names and that is not found is an error.
        labels_given: labels come from elsewhere; those in it may be anything, and () stands for
            them.
        steps_given: preprocessing comes from elsewhere, likewise.
        warn: gets one line on what is odd and prevents nothing.
        note_label_file: gets the path of a label file that the labels are read from.
        graph: the model it describes, where that is known.
    """

    path: Path
    folders: tuple[Path, ...] = ()
    need_labels: bool = False
    labels_given: bool = False
    steps_given: bool = False
    warn: Callable[[str], None] = _no_warning
    note_label_file: Callable[[Path], None] = _no_note
    graph: Graph | None = None


@dataclass(frozen=True)
class Form:
    """One form of description.

    Attributes:
        title: its name for people: the file that has it.
        usual_names: the names that its exporter gives it beside a model, which win over others.
        key: what such a document holds, for errors.
        recognises: whether a loaded document is of this form; no two forms take the same.
        read: the loaded document and its source -> the description. It raises ConversionError or
            BundleError, in one line, if it is not what it must be.
        any_name: a file of this form beside a model is found under any name; False: one under
            another name is given by option only.
    """

    title: str
    usual_names: tuple[str, ...]
    key: str
    recognises: Callable[[Any], bool]
    read: Callable[[Any, Source], InferenceDescription]
    any_name: bool = True
