"""Which files each service serves: their real paths and hashes, for the log and the status.

A reload that says no more than "reloaded" cannot be checked: the name of a configuration may be a
link, and so may each name in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bundle.forms import FORMS

from ..engine.engine import Engine
from ..settings.config import ServiceSettings
from ..settings.op import OpSettings

_FORM_FOLDERS = frozenset(form.folder for form in FORMS.values())
_DESCRIBING = (".prototxt", ".yml", ".md", ".txt")


def served(settings: ServiceSettings, engines: Mapping[str, Engine]) -> dict[str, Any]:
    """Return for each service what `engines` really serve, JSON-able.

    `bundle` is a folder, `form` the form of it that is served, "export" or "onnx"; `model`,
    `parameters`, `labels` and `classifier` are files as
    {"file": real path, "sha256": hex digits or null}, or null where there is no such file.
    """
    ops = {op.name: op for op in settings.ops}
    return {name: _served(ops[name], engine) for name, engine in engines.items() if name in ops}


def _served(op: OpSettings, engine: Engine) -> dict[str, Any]:
    facts = engine.facts

    def file(key: str) -> dict[str, Any] | None:
        path = facts.get(key)
        return {"file": path, "sha256": engine.digests.get(path)} if path else None

    labels = file("labels_file")
    if op.classifier.labels is not None:
        labels = {"file": op.classifier.labels_file, "sha256": op.classifier.labels_sha256}
    code = facts.get("code")
    return {
        "bundle": str(Path(op.classifier.model_dir)),
        "model": file("model_file"),
        "form": facts.get("form"),
        "parameters": _parameters(engine),
        "labels": labels,
        "classifier": dict(code) if code else None,
    }


def _of_another_form(file: Path, model: Path) -> bool:
    """Whether a file below the folder of the served graph belongs to another form of it."""
    return file.relative_to(model.parent).parts[0] in _FORM_FOLDERS


def _parameters(engine: Engine) -> dict[str, Any] | None:
    """Return what lies beside the graph and is no description; several files have one hash."""
    model = engine.facts.get("model_file")
    if not model:
        return None
    beside = {
        path: digest
        for path, digest in sorted(engine.digests.items())
        if path != model and Path(model).parent in Path(path).parents
        if Path(path).suffix not in _DESCRIBING and not _of_another_form(Path(path), Path(model))
    }
    if len(beside) == 1:
        ((path, digest),) = beside.items()
        return {"file": path, "sha256": digest}
    if not beside:
        return None
    whole = hashlib.sha256("".join(beside.values()).encode()).hexdigest()
    return {"file": f"{len(beside)} files in {Path(model).parent}", "sha256": whole}
