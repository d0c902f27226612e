"""Writes the folder of a dataset, as links or copies; complete or not at all."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from tools.text import printable

from .errors import DatasetError
from .images import Image

# Marks a folder of this tool, and records how it was made.
RECORD = "dataset.json"
HARD_LINK, SYMLINK, COPY = "hard link", "symlink", "copy"


def check_output(source: Path, output: Path, *, force: bool) -> None:
    """Refuse an output that would harm the input, or a folder that this tool did not write.

    Raises:
        DatasetError: saying what stands in the way.
    """
    data, target = source.resolve(), output.resolve()
    if data == target or data in target.parents or target in data.parents:
        raise DatasetError(f"{output} and {source} lie within each other; choose another --output")
    if not os.path.lexists(output):
        return
    if output.is_symlink() or not output.is_dir():
        raise DatasetError(f"{output} exists and is no folder; choose another --output")
    if not any(output.iterdir()):
        return
    if not (output / RECORD).is_file():
        raise DatasetError(f"{output} exists and was not written by this tool; choose another")
    if not force:
        raise DatasetError(f"{output} exists; give --force to replace the whole folder")


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """Yield a new folder that replaces `output` when the block ends without an error.

    Raises:
        DatasetError: it cannot be written; what was there is as it was.
    """
    workspace: Path | None = None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
        # a folder inside, because only the owner can read mkdtemp's own
        staging = workspace / "new"
        staging.mkdir()
        yield staging
        _replace(staging, output, workspace / "old")
    except OSError as error:
        raise DatasetError(f"{output} cannot be written: {error.strerror or error}") from error
    finally:
        if workspace:
            shutil.rmtree(workspace, ignore_errors=True)


def place(staging: Path, files: Sequence[tuple[Image, str]], how: str) -> None:
    """Put every image at its path below `staging`.

    Raises:
        DatasetError: a link cannot be made; the text says which other way there is.
    """
    console = Console(stderr=True)
    folders = {os.path.dirname(name) for _, name in files}  # noqa: PTH120 - many, as text
    for folder in sorted(folders):
        (staging / folder).mkdir(parents=True, exist_ok=True)
    bar = track(files, "writing", console=console, disable=not console.is_terminal, transient=True)
    for image, name in bar:
        # The target of a link, so that no link points to a link.
        source = os.path.realpath(image.path)
        target = os.path.join(staging, name)  # noqa: PTH118
        if how == SYMLINK:
            os.symlink(source, target)  # noqa: PTH211
        elif how == COPY:
            shutil.copyfile(source, target)
        else:
            _hard_link(source, target)


def write_record(staging: Path, facts: Mapping[str, Any]) -> None:
    """Record how the folder was made."""
    text = json.dumps(facts, ensure_ascii=False, indent=2) + "\n"
    (staging / RECORD).write_text(text, encoding="utf-8")


def _hard_link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        raise DatasetError(
            f"{printable(source)} cannot be hard-linked ({error.strerror}): that needs the same "
            "file system and your own files; give --link for symlinks or --copy"
        ) from error


def _replace(staging: Path, output: Path, old: Path) -> None:
    if output.exists():
        output.rename(old)
        try:
            staging.rename(output)
        except OSError:
            old.rename(output)
            raise
    else:
        staging.rename(output)
