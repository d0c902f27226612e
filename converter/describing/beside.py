"""What lies beside a model: its description, found by what it holds, and its label file."""

from __future__ import annotations

from pathlib import Path

from bundle.errors import BundleError
from bundle.formats import PIR

from ..errors import ConversionError
from ..reading.graph_file import within
from .document import load_document
from .form import Source
from .forms import FORMS, form_of, read_description, why_not

LABEL_FILES = ("labels.txt", "label_list.txt", "label.txt", "labels.json", "labels.yml")
_SUFFIXES = (".yml", ".yaml", ".json")
# Bytes of all files under other names than the usual ones: PyYAML takes a second for each megabyte.
_LOOKED_INTO = 16 << 20
_NO_DESCRIPTIONS = (*LABEL_FILES, "bundle.yml")


def description_beside(folder: Path) -> Path | None:
    """The description file beside a model; None if there is none.

    A file under its form's usual name wins, in the order of the table. Otherwise every YAML and
    JSON file is looked into, and the one that a form recognises is taken.

    Raises:
        ConversionError: several files are recognised and can be served, and they do not hold the
            same.
    """
    for form in FORMS:
        for name in form.usual_names:
            if (folder / name).is_file():
                return folder / name
    documents, _ = _look_into(folder)
    if len(documents) > 1:
        # a description of no classifier may lie there too, and is no choice
        documents = {path: documents[path] for path in documents if _is_read(path)} or documents
    first = next(iter(documents.values()), None)
    if any(document != first for document in documents.values()):
        names = ", ".join(path.name for path in documents)
        raise ConversionError(
            f"{folder}: holds {len(documents)} descriptions of how images are prepared ({names}),"
            " and they differ; choose one with --preprocess"
        )
    return next(iter(documents), None)


def descriptions_beside(folder: Path) -> tuple[Path, ...]:
    """All files beside a model that a form recognises."""
    documents, _ = _look_into(folder)
    return tuple(documents)


def unusable_beside(folder: Path) -> tuple[str, ...]:
    """Why YAML files beside a model, which may be descriptions, cannot be used."""
    _, unusable = _look_into(folder)
    return unusable


def _look_into(folder: Path) -> tuple[dict[Path, object], tuple[str, ...]]:
    """The files that a form recognises, with what they hold; and why others are of no use."""
    documents: dict[Path, object] = {}
    unusable = []
    looked_into = 0
    for path in sorted(folder.iterdir()):
        if not _may_be_description(path):
            continue
        looked_into += path.stat().st_size
        if looked_into > _LOOKED_INTO:
            unusable.append(
                f"{folder}: holds more than {_LOOKED_INTO >> 20} MiB of YAML and JSON files, and"
                f" {path.name} and those behind it were not looked into"
            )
            break
        try:
            document = load_document(path)
        except BundleError as error:
            if path.suffix.lower() != ".json":  # which graphs have too
                unusable.append(str(error))
            continue
        form, other = form_of(document), why_not(document)
        if form is not None and form.any_name:
            documents[path] = document
        elif form is None and other is not None:
            unusable.append(f"{path}: {other}")
    return documents, tuple(unusable)


def _is_read(path: Path) -> bool:
    try:
        read_description(Source(path, (path.parent,)))
    except (BundleError, ConversionError):
        return False
    return True


def _may_be_description(path: Path) -> bool:
    return (
        path.suffix.lower() in _SUFFIXES
        and not path.name.startswith(".")
        and path.name not in _NO_DESCRIPTIONS
        and not PIR.recognises(path)
        and path.is_file()
    )


def names_beside() -> str:
    """The usual names of description files beside a model, for errors."""
    names = [name for form in FORMS for name in form.usual_names]
    return f"{', '.join(names[:-1])} or {names[-1]}"


def label_files_beside(folder: Path) -> tuple[Path, ...]:
    """The label files beside a model; links that lead out of the folder are none."""
    return tuple(path for path in _label_paths(folder) if within(path, folder))


def label_links_beside(folder: Path) -> tuple[Path, ...]:
    """Links under the name of a label file that lead out of the folder."""
    return tuple(path for path in _label_paths(folder) if not within(path, folder))


def _label_paths(folder: Path) -> list[Path]:
    return [folder / name for name in LABEL_FILES if (folder / name).is_file()]


def label_file_beside(folder: Path) -> Path | None:
    """The label file beside a model; None if there is none, or more than one."""
    found = label_files_beside(folder)
    return found[0] if len(found) == 1 else None
