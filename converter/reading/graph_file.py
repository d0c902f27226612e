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
    """Whether a name that a model gives stays within its folder, read as it is written."""
    parts = Path(name).parts
    usable = bool(parts) and "\0" not in name and all(len(part) < 256 for part in parts)
    return usable and ".." not in parts and not Path(name).is_absolute()


def within(file: Path, folder: Path) -> bool:
    """Whether a file, once all links are followed, lies in a folder or in the cache it is part of.

    Hugging Face's cache holds `models--NAME/snapshots/REVISION/FILE`, which are links to
    `models--NAME/blobs/HASH`.
    """
    try:
        real, root = file.resolve(), folder.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return False
    roots = [root]
    for above in (root, *root.parents):
        if above.parent.name == "snapshots" and above.parent.parent.name.startswith("models--"):
            roots.append(above.parent.parent / "blobs")
    return any(real.is_relative_to(allowed) for allowed in roots)
