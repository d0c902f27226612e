"""`tuning.yml`: how `python -m converter tune` found a bundle to be served fastest, and where.

    choice      what the service takes where `cpu` and `model_sha256` fit
    cpu         the machine that it was measured on
    candidates  the figures of all that was measured, for people

The file may come from a stranger: it holds names and small numbers, never a path, and each has its
bounds. Kept clean for Python 3.8, as the rest of this room.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import tempfile
from pathlib import Path
from typing import Iterator, Optional

from .bundle import served_paths
from .errors import BundleError
from .forms import EXPORT, FORMS, form_folder
from .strict_yaml import read_yaml
from .tuned import Tuning
from .tuning_document import WrongTuningError, from_yaml, to_yaml

TUNING = "tuning.yml"
MAX_BYTES = 1 << 20
_CHUNK_BYTES = 1 << 20
# Of a graph's folder, what may be edited without another model.
_DESCRIBING = (".yml", ".prototxt", ".md", ".txt")

_HEAD = """\
# Measured by `python -m converter tune`. The service takes `choice` where `cpu` and the model fit,
# except for what its config.yml sets. Delete this file to serve untuned.
"""


def tuning_file(bundle_path: Path) -> Path:
    """Return where the tuning of the bundle, or of its `serving_server`, lies or would lie."""
    return served_paths(Path(bundle_path))[1].parent / TUNING


def tune_command(bundle_path: Path) -> str:
    """Return the command that measures anew, for messages; short where the folder is near."""
    path = served_paths(Path(bundle_path))[1].parent
    with contextlib.suppress(ValueError, OSError):
        path = path.resolve().relative_to(Path.cwd())
    return "python -m converter tune {}".format(shlex.quote(str(path)))


def read_tuning(bundle_path: Path) -> Optional[Tuning]:
    """Return the tuning of a bundle; None: there is none.

    Raises:
        BundleError: the file is damaged, or not of this format; names the command to run again.
    """
    file = tuning_file(bundle_path)
    if not os.path.lexists(str(file)):
        return None
    remedy = "run `{}` again, or delete the file".format(tune_command(bundle_path))
    if not file.is_file():
        raise BundleError("{} is no file; {}".format(file, remedy))
    if file.stat().st_size > MAX_BYTES:
        raise BundleError("{} is larger than {} KiB; {}".format(file, MAX_BYTES >> 10, remedy))
    try:
        return from_yaml(read_yaml(file))
    except WrongTuningError as error:
        raise BundleError("{}: {}; {}".format(file, error, remedy)) from error
    except BundleError as error:
        raise BundleError("{}; {}".format(error, remedy)) from error


def write_tuning(bundle_path: Path, tuning: Tuning) -> Path:
    """Write the tuning of a bundle, whole or not at all; return the file.

    Raises:
        BundleError: it cannot be written there.
    """
    file = tuning_file(bundle_path)
    content = (_HEAD + to_yaml(tuning)).encode("utf-8")
    try:
        _replace(file, content)
    except OSError as error:
        raise BundleError(
            "cannot write {}: {}; make the bundle's folder writable, or keep the figures of the "
            "table with --apply no".format(file, error.strerror or error)
        ) from error
    return file


def model_digest(bundle_path: Path, form: str) -> str:
    """Return a SHA-256 of the export's graph and parameters, and of those of `form`.

    Raises:
        BundleError: a file cannot be read.
    """
    server_dir, _ = served_paths(Path(bundle_path))
    digest = hashlib.sha256()
    try:
        for folder in [form_folder(server_dir, name) for name in dict.fromkeys((EXPORT, form))]:
            for file in _model_files(folder):
                digest.update("{}\0".format(file.relative_to(server_dir).as_posix()).encode())
                digest.update(_digest(file))
    except OSError as error:
        raise BundleError(
            "cannot read {}: {}; mend its permissions".format(error.filename, error.strerror)
        ) from error
    return digest.hexdigest()


def _model_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a graph, with external data; other forms and hidden files are not its."""
    folders = [form.folder for form in FORMS.values()]
    for path in sorted(folder.glob("*")):
        if path.name.startswith("."):
            continue
        if path.is_dir() and path.name not in folders:
            yield from _model_files(path)
        elif path.is_file() and path.suffix not in _DESCRIBING:
            yield path


def _digest(file: Path) -> bytes:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        for chunk in iter(lambda: content.read(_CHUNK_BYTES), b""):
            digest.update(chunk)
    return digest.digest()


def _replace(file: Path, content: bytes) -> None:
    # Hidden: a service that looks at the bundle meanwhile does not see it.
    descriptor, name = tempfile.mkstemp(prefix=".tuning-", suffix=".yml", dir=str(file.parent))
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(content)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(0o644)  # mkstemp's own is private, and the service may be another user's
        temporary.replace(file)
    except BaseException:
        temporary.unlink()
        raise
