"""The output folder appears whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import ConversionError

# What a conversion writes; anything else in an existing bundle (a README) is the user's.
_OURS = frozenset({"serving_server", "serving_client", "bundle.yml"})


def check_output(export_dir: Path, output: Path, *, force: bool) -> None:
    """Refuse an output that would harm the input or something that is no bundle.

    Raises:
        ConversionError: saying which folder stands in the way.
    """
    source, target = export_dir.resolve(), output.resolve()
    if source == target or source in target.parents:
        raise ConversionError(
            f"{output}: lies inside the export {export_dir}; choose another place"
        )
    if target in source.parents:
        raise ConversionError(f"{output}: holds the export {export_dir}; choose another place")
    if not output.exists() and not output.is_symlink():
        return
    if not output.is_dir() or output.is_symlink():
        raise ConversionError(f"{output}: exists and is no folder; choose another place")
    if not any(output.iterdir()):
        return
    if not any((output / name).exists() for name in _OURS):
        raise ConversionError(f"{output}: exists and is no bundle; choose another place")
    if not force:
        raise ConversionError(f"{output}: exists; give --force to replace it")


@contextmanager
def staged(output: Path) -> Iterator[Path]:
    """A new folder beside the output, put in its place when the block ends without an error.

    Files in an existing output that no conversion writes are kept.

    Raises:
        ConversionError: a folder cannot be made or replaced; the output is as it was.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise ConversionError(f"{output}: cannot be written ({error.strerror or error})") from error
    try:
        # a folder within, for mkdtemp's own is readable by its owner only
        staging = workspace / "new"
        staging.mkdir()
        yield staging
        _replace(staging, output, workspace / "old")
    except OSError as error:
        raise ConversionError(f"{output}: cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(workspace, ignore_errors=True)


def _replace(staging: Path, output: Path, old: Path) -> None:
    if not output.exists():
        staging.rename(output)
        return
    for kept in output.iterdir():
        if kept.name in _OURS:
            continue
        if kept.is_dir() and not kept.is_symlink():
            shutil.copytree(kept, staging / kept.name, symlinks=True)
        else:
            shutil.copy2(kept, staging / kept.name, follow_symlinks=False)
    output.rename(old)
    try:
        staging.rename(output)
    except OSError:
        old.rename(output)
        raise
