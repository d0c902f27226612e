"""bundle.yml: where a bundle came from, so that a file can be told from another years later."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bundle.inference_yml import to_yaml

from .exported_model import ExportedModel

_CHUNK_BYTES = 1 << 20


class Copied(NamedTuple):
    """A file that went from the export into the bundle."""

    source: Path
    target: Path
    size: int
    sha256: str


def copy_file(source: Path, target: Path) -> Copied:
    """Copy a file and hash it on the way."""
    digest, size = hashlib.sha256(), 0
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reading, target.open("wb") as writing:
        while chunk := reading.read(_CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            writing.write(chunk)
    return Copied(source, target, size, digest.hexdigest())


def write_record(
    bundle_dir: Path,
    export: ExportedModel,
    copied: Sequence[Copied],
    options: Mapping[str, Any],
) -> None:
    """Write bundle.yml. It holds no time and no absolute path: equal inputs give equal bundles."""
    graph = export.graph
    inputs = [export.inference_yml, options.get("labels"), options.get("preprocess")]
    document = {
        "format": 1,
        "made_by": f"paddle-serving-kit {_version()}",
        "source": {
            "folder": export.folder.resolve().name,
            "files": {
                **{str(c.source.relative_to(export.folder)): _facts(c) for c in copied},
                **{Path(path).name: hash_file(Path(path)) for path in inputs if _is_file(path)},
            },
        },
        "options": {name: _plain(value) for name, value in options.items()},
        "model": {
            "graph_format": export.graph_format,
            "feeds": {t.name: {"dtype": t.dtype, "shape": list(t.shape)} for t in graph.feeds},
            "fetches": {t.name: {"dtype": t.dtype, "shape": list(t.shape)} for t in graph.fetches},
            "parameters": len(graph.parameters),
            "output_activation": graph.output_activation,
            "fixed_batch": graph.fixed_batch,
        },
        "files": {
            str(path.relative_to(bundle_dir)): hash_file(path)
            for path in sorted(bundle_dir.rglob("*"))
            if path.is_file()
        },
    }
    (bundle_dir / "bundle.yml").write_text(to_yaml(document), encoding="utf-8")


def hash_file(path: Path) -> dict[str, Any]:
    """Size in bytes and SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return {"size": path.stat().st_size, "sha256": digest.hexdigest()}


def _facts(copied: Copied) -> dict[str, Any]:
    return {"size": copied.size, "sha256": copied.sha256}


def _is_file(path: Path | str | None) -> bool:
    return path is not None and Path(path).is_file()


def _plain(value: object) -> object:
    if isinstance(value, tuple):
        return list(value)
    # a path only by its name: where it lay on this machine is nobody else's business
    if isinstance(value, Path):
        return value.name
    return Path(value).name if isinstance(value, str) else value


def _version() -> str:
    try:
        return importlib.metadata.version("paddle-serving-kit")
    except importlib.metadata.PackageNotFoundError:
        return "unknown"
