"""A graph's file before it is parsed: what seems a damaged model is often no model at all."""

from __future__ import annotations

from pathlib import Path

from bundle.parameter_file import other_file

from ..errors import ConversionError

_HEAD_BYTES = 16


def check_graph_file(path: Path) -> None:
    """Refuse a file that cannot be read, is empty, or is something else under a graph's name.

    Raises:
        ConversionError: saying which of these, and what to do.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise ConversionError(
            f"{path}: cannot be read ({error.strerror or error}); copy it to where you may read it"
        ) from error
    what = "it is empty" if not head else other_file(head)
    if what is not None:
        raise ConversionError(f"{path}: is no graph: {what}; copy or export it again")


def inside(name: str) -> bool:
    """Whether a name that a model gives stays within its folder, read as it is written.

    A link in the folder may lead elsewhere: the caches of model hubs are made of them.
    """
    parts = Path(name).parts
    usable = bool(parts) and "\0" not in name and all(len(part) < 256 for part in parts)
    return usable and ".." not in parts and not Path(name).is_absolute()
