"""The files that an engine serves, as they were when it started.

A worker that is started again later must load the same files as the other workers, or none: one
service must not answer with two models because files are being copied.

    service: mark_files(roots) ── start message ──> worker: check() before and after it loads them
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

_CHUNK_BYTES = 2**20


class FilesChangedError(Exception):
    """The files are not those that the engine started with; the text says what to do.

    `public_cause` is what callers may read of it.
    """

    public_cause = (
        "the files of its bundle changed since they were loaded; reload the service to take them, "
        "or put them back"
    )


class Mark(NamedTuple):
    """One file: facts that change whenever it is written or replaced, and its hash."""

    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    sha256: str

    def still_of(self, path: Path) -> bool:
        """Whether `path` holds the same; it is read only where it was touched.

        Raises:
            OSError: it is gone, or cannot be read.
        """
        facts = _facts(path)
        if facts == self[:-1]:
            return True
        return facts[0] == self.size and _digest(path) == self.sha256


@dataclass(frozen=True, slots=True)
class ServedFiles:
    """Every file under `roots`, which are files and folders, by its path."""

    roots: tuple[str, ...]
    marks: Mapping[str, Mark]

    def header(self) -> dict[str, Any]:
        """Return what `from_header` reads, JSON-able."""
        return {"roots": self.roots, "marks": self.marks}

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> ServedFiles:
        """Read what a start message holds."""
        marks = {path: Mark(*facts) for path, facts in header["marks"].items()}
        return cls(tuple(header["roots"]), marks)

    def check(self) -> None:
        """Compare with what lies there now.

        Raises:
            FilesChangedError: something else, more, or less.
        """
        changed = self._first_change()
        if changed is not None:
            raise FilesChangedError(
                f"the files of {self.roots[0]} changed since they were loaded ({changed}); "
                "reload to take them, or put them back"
            )

    def _first_change(self) -> str | None:
        for path, mark in self.marks.items():
            try:
                if not mark.still_of(Path(path)):
                    return f"{Path(path).name} has another content"
            except OSError as error:
                return f"{Path(path).name}: {error.strerror}"
        added = (path for path in _files(self.roots) if str(path) not in self.marks)
        return next((f"{path.name} is new" for path in added), None)


def mark_files(roots: Sequence[str]) -> ServedFiles:
    """Read every file under `roots` once; loading reports the ones that cannot be read."""
    marks = {}
    for path in _files(roots):
        try:
            # In this order: a file written in between shows as changed later.
            marks[str(path)] = Mark(*_facts(path), _digest(path))
        except OSError:
            continue
    return ServedFiles(tuple(roots), marks)


def _files(roots: Sequence[str]) -> Iterator[Path]:
    """Yield the regular files; hidden ones are editors' and copying programs' own."""
    for root in map(Path, roots):
        if root.is_file():
            yield root
        for folder, folders, names in os.walk(root):
            folders[:] = [name for name in folders if not name.startswith(".")]
            paths = (Path(folder, name) for name in names if not name.startswith("."))
            yield from (path for path in paths if path.is_file())


def _facts(path: Path) -> tuple[int, int, int, int]:
    stat = path.stat()
    return stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
