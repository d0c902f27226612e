"""bundle.yml: where a bundle came from, so that its files can be identified years later."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bundle.bundle import check_recorded_name
from bundle.strict_yaml import read_yaml

from ..describing.beside import label_file_beside
from ..describing.collect import FoundDescription
from ..reading.exported_model import ExportedModel
from ..reading.graph import GraphTensor

RECORD = "bundle.yml"
_CHUNK_BYTES = 1 << 20


def write_record(
    bundle_dir: Path,
    export: ExportedModel,
    found: FoundDescription,
    answering: int,
    options: Mapping[str, Any],
) -> None:
    """Write bundle.yml into a bundle whose other files all stand.

    It holds no time and no absolute path: equal inputs give equal bundles, on any machine.

    Args:
        bundle_dir: the bundle.
        export: what it was made from. Model files are copied byte for byte, so their hashes under
            `files` are those of the source too.
        found: the description that was found, of which the files are recorded.
        answering: the position of the output that answers are made from.
        options: what the conversion was given, None left out.
    """
    source = _source_facts(export, found, options)
    document = {
        "format": 1,
        "made_by": f"paddle-serving-kit {_version()}",
        "source": source,
        "options": {name: source.get(name) or _plain(value) for name, value in options.items()},
        "model": _model_facts(export, answering),
        "files": {
            path.relative_to(bundle_dir).as_posix(): file_facts(path)
            for path in sorted(bundle_dir.rglob("*"))
            if path.is_file()
        },
    }
    (bundle_dir / RECORD).write_text(_as_text(document), encoding="utf-8")


def record_form(bundle_dir: Path, form: str, folder: Path, facts: Mapping[str, Any]) -> None:
    """Add a form of the graph, which lies in `folder`, to the record; nothing where there is none.

    Its files stand among the others, `facts` under `forms`.

    Raises:
        BundleError: bundle.yml is not YAML.
        OSError: it cannot be written; it is as it was.
    """
    file = bundle_dir / RECORD
    if not file.is_file():
        return
    document = _mapping(read_yaml(file))
    within = f"{folder.relative_to(bundle_dir).as_posix()}/"
    files = {
        name: kept
        for name, kept in _mapping(document.get("files")).items()
        if not str(name).startswith(within)
    }
    made = {f"{within}{path.name}": file_facts(path) for path in sorted(folder.iterdir())}
    document["files"] = dict(sorted({**files, **made}.items()))
    document["forms"] = {**_mapping(document.get("forms")), form: dict(facts)}
    part = file.with_name(f".{file.name}.part")
    part.write_text(_as_text(document), encoding="utf-8")
    part.replace(file)


def _as_text(document: Mapping[str, Any]) -> str:
    # flow style for the innermost: one line a file
    text: str = yaml.safe_dump(
        dict(document), sort_keys=False, allow_unicode=True, width=1000, default_flow_style=None
    )
    return text


def _source_facts(
    export: ExportedModel, found: FoundDescription, options: Mapping[str, Any]
) -> dict[str, Any]:
    given = [found.file, label_file_beside(export.folder), found.labels_file]
    # labels of the graph stand in the model's own file
    given = [path for path in given if path != export.model_file]
    given += [options.get("labels"), options.get("preprocess")]
    descriptions = [
        Path(path)
        for path in given
        # labels within the graph: it is the model file already
        if path is not None and path != export.model_file and Path(path).is_file()
    ]
    return {
        "folder": export.folder.resolve().name,
        "model_file": _within(export.folder, export.model_file),
        "params_file": _within(export.folder, export.params_file) if export.params_file else None,
        "descriptions": {path.name: file_facts(path) for path in descriptions},
    }


def _model_facts(export: ExportedModel, answering: int) -> dict[str, Any]:
    graph = export.graph
    return {
        "graph_format": export.graph_format.name,
        "written_by": graph.written_by or None,
        "feeds": _tensors(graph.feeds),
        "fetches": _tensors(graph.fetches),
        "parameters": len(graph.parameters),
        "output_activation": graph.activations[answering],
        "fixed_batch": graph.fixed_batch,
    }


def file_facts(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return {"size": path.stat().st_size, "sha256": digest.hexdigest()}


def changed_files(bundle_dir: Path) -> list[str]:
    """Names of the bundle's model files that are not as bundle.yml records them.

    Descriptions may be edited by hand, models may not. Without a bundle.yml there is nothing to
    compare with.

    Raises:
        BundleError: bundle.yml is not YAML.
    """
    return _differing(bundle_dir, descriptions=False)


def edited_files(bundle_dir: Path) -> list[str]:
    """Names of the bundle's descriptions that are not as bundle.yml records them.

    Raises:
        BundleError: bundle.yml is not YAML.
    """
    return _differing(bundle_dir, descriptions=True)


def _differing(bundle_dir: Path, *, descriptions: bool) -> list[str]:
    found = []
    for name, facts in read_record(bundle_dir).get("files", {}).items():
        if name.endswith((".yml", ".prototxt")) == descriptions:
            file = bundle_dir / name
            if not file.is_file() or file_facts(file)["sha256"] != facts.get("sha256"):
                found.append(name)
    return found


def read_record(bundle_dir: Path) -> dict[str, Any]:
    """Return what bundle.yml holds; nothing where there is none.

    Raises:
        BundleError: it is not YAML.
    """
    file = bundle_dir / RECORD
    if not file.is_file():
        return {}
    record = _mapping(read_yaml(file))
    source = _mapping(record.get("source"))
    files = _mapping(record.get("files"))
    for name in files:
        check_recorded_name(str(name), file)
    return {
        **record,
        # in the forms that are read: an edited record may hold anything
        "source": {**source, "descriptions": _mapping(source.get("descriptions"))},
        "options": _mapping(record.get("options")),
        "files": {str(name): _mapping(facts) for name, facts in files.items()},
    }


def _mapping(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _tensors(tensors: Sequence[GraphTensor]) -> dict[str, Any]:
    return {t.name: {"dtype": t.dtype, "shape": list(t.shape)} for t in tensors}


def _within(folder: Path, file: Path) -> str:
    """The way to a file of the export from its folder; only its name where it lies elsewhere."""
    # links are followed last: those of a hub's cache lead out of the folder
    as_written = [Path(os.path.abspath(path)) for path in (folder, file)]  # noqa: PTH100
    for base, path in (as_written, (folder.resolve(), file.resolve())):
        if path.is_relative_to(base):
            return path.relative_to(base).as_posix()
    return file.name


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    # a path only by its name: a bundle must not show the folders of this machine
    return Path(value).name if isinstance(value, (Path, str)) else value


def _version() -> str:
    try:
        return importlib.metadata.version("paddle-serving-kit")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
