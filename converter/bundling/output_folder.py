"""The output folder appears whole or not at all."""

from __future__ import annotations

import errno
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from protocol.escaping import escaped_line

from ..errors import ConversionError

_FULL = (errno.ENOSPC, errno.EDQUOT)

# What a conversion writes; anything else in an existing bundle (a README) is the user's.
_OURS = frozenset({"serving_server", "serving_client", "bundle.yml"})


def check_output(
    export_dir: Path,
    output: Path,
    *,
    force: bool,
    ours: frozenset[str] = _OURS,
    kind: str = "bundle",
    source_kind: str = "export",
) -> None:
    """Refuse an output that would harm the input or something that is no `kind`.

    Args:
        export_dir: the input.
        output: the folder to be written.
        force: an existing one may be replaced.
        ours: names of what is written; a folder with none of them is the user's.
        kind: what is written, for people.
        source_kind: what is read, likewise.

    Raises:
        ConversionError: saying which folder stands in the way.
    """
    try:
        source, target = export_dir.resolve(), output.resolve()
    except (OSError, RuntimeError) as error:  # a loop of links
        raise ConversionError(f"{output}: cannot be followed: {error}") from error
    if source == target or source in target.parents:
        raise ConversionError(
            f"{output}: lies inside the {source_kind} {export_dir}; choose another place"
        )
    if target in source.parents:
        raise ConversionError(
            f"{output}: holds the {source_kind} {export_dir}; choose another place"
        )
    if not output.exists() and not output.is_symlink():
        return
    if not output.is_dir() or output.is_symlink():
        raise ConversionError(f"{output}: exists and is no folder; choose another place")
    if not any(output.iterdir()):
        return
    if not any((output / name).exists() for name in ours):
        raise ConversionError(f"{output}: exists and is no {kind}; choose another place")
    if not force:
        raise ConversionError(f"{output}: exists; give --force to replace it")


def cannot_write(output: Path, error: OSError) -> ConversionError:
    """The error of a folder that cannot be written, or of a temporary one on the way to it."""
    if error.errno in _FULL:
        return no_space(output)
    cause = f"{output}: cannot be written ({error.strerror or error})"
    return ConversionError(f"{cause}; give --output a folder that you may write to")


def no_space(output: Path) -> ConversionError:
    """The error of a full disk: that of the output, or the one of temporary files."""
    with suppress(OSError):  # the one with the least room is found while it is full
        temporary = Path(tempfile.gettempdir())
        if shutil.disk_usage(temporary).free < shutil.disk_usage(_existing(output)).free:
            return ConversionError(
                f"{output}: no space left in {temporary} for temporary files; free some, or set"
                " TMPDIR to a folder with more"
            )
    return ConversionError(
        f"{output}: no space left in {output.parent}; free some, or set --output (and TMPDIR, for"
        " temporary files) to a folder with more"
    )


def _existing(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


@contextmanager
def scratch(output: Path) -> Iterator[Path]:
    """A temporary folder for steps on the way to `output`.

    Raises:
        ConversionError: it cannot be made, or not written in the block.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="export-") as folder:
            try:
                yield Path(folder)
            except OSError as error:  # before the folder is removed, and there is room again
                raise cannot_write(output, error) from error
    except OSError as error:
        raise cannot_write(output, error) from error


@contextmanager
def staged(output: Path, ours: frozenset[str] = _OURS) -> Iterator[Path]:
    """A new folder beside the output, put in its place when the block ends without an error.

    Files in an existing output that are not `ours`, for no conversion writes them, are kept.

    Raises:
        ConversionError: a folder cannot be made or replaced; the output is as it was.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        workspace = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    except OSError as error:
        raise cannot_write(output, error) from error
    try:
        # a folder within, for mkdtemp's own is readable by its owner only
        staging = workspace / "new"
        staging.mkdir()
        yield staging
        _replace(staging, output, workspace / "old", ours)
    except OSError as error:
        raise cannot_write(output, error) from error
    finally:
        _remove(workspace, output)


def _remove(workspace: Path, output: Path) -> None:
    """Remove what a conversion leaves, unless that is the only copy of the bundle that was."""
    old = workspace / "old"
    if old.exists() and not output.exists():
        warning = f"{old}: is the bundle that was {output} and could not be put back; move it there"
    else:
        shutil.rmtree(workspace, ignore_errors=True)
        warning = f"{workspace}: what was replaced could not be removed; remove it yourself"
    if workspace.exists():
        sys.stderr.write(f"warning: {escaped_line(warning)}\n")


def _replace(staging: Path, output: Path, old: Path, ours: frozenset[str]) -> None:
    if not output.exists():
        staging.rename(output)
        return
    for kept in output.iterdir():
        if kept.name in ours:
            continue
        if kept.is_dir() and not kept.is_symlink():
            shutil.copytree(kept, staging / kept.name, symlinks=True)
        else:
            shutil.copy2(kept, staging / kept.name, follow_symlinks=False)
    try:
        output.rename(old)
        staging.rename(output)
    except BaseException:  # an interrupt too must not lose the bundle that was
        if old.exists() and not output.exists():
            old.rename(output)
        raise
