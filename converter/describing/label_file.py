"""The label file that a description names by a path from where its framework is run.

Callers get the labels. A description may be a stranger's and name any file of this machine, so only
files of the export, of the description's own folder and of PaddleClas around it are read; another
one is given with --labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PureWindowsPath

from bundle.labels import read_labels

from ..errors import ConversionError
from ..reading.graph_file import within
from .form import Source

# Folders of a copy of PaddleClas that hold label files; the first two show that it is one.
_PADDLECLAS = ("ppcls", "deploy", "dataset")
# What a path of Windows in double quotes becomes in YAML: "D:\new" holds the end of a line.
_ESCAPED = str.maketrans(
    {
        "\0": "\\0", "\a": "\\a", "\b": "\\b", "\t": "\\t", "\n": "\\n", "\v": "\\v",
        "\f": "\\f", "\r": "\\r", "\x1b": "\\e",
    }
)  # fmt: skip


def labels_of(name: object, source: Source, delimiter: str | None = None) -> tuple[str, ...] | None:
    """Read the label file that a description names.

    Args:
        name: its path, of any system; None: the description names none.
        source: where the description comes from.
        delimiter: what stands between the number of a class and its label.

    Returns:
        The labels, () if they come from elsewhere, None if there is no such file and none is
        needed.

    Raises:
        ConversionError: it is needed, and not here or outside.
        BundleError: it is no label file.
    """
    if name is None:
        return None
    name = str(name).translate(_ESCAPED)
    files = [path for path in _places(name, source) if _is_file(path)]
    found = next((path for path in files if _is_allowed(path, source)), None)
    if found is None:
        if source.need_labels:
            raise _not_read(name, source, files)
        return None
    source.note_label_file(found)
    return () if source.labels_given else read_labels(found, source.warn, delimiter)


def _places(name: str, source: Source) -> Iterator[Path]:
    """Where it may lie, the likeliest first."""
    # a path of Windows names the same file under /
    given = Path(name.replace("\\", "/"))
    near = [source.path.parent, source.path.parent.parent, Path(), *source.folders]
    for folder in near:
        yield folder / name
        yield folder / given
    if len(given.parts) > 1 and not given.is_absolute():
        # PaddleClas is run in its root, or in deploy/, somewhere above the configuration
        for folder in source.path.resolve().parents:
            yield folder / given
    # a copy often lies beside the configuration
    for folder in near:
        yield folder / _last_part(name)


def _not_read(name: str, source: Source, outside: Sequence[Path]) -> ConversionError:
    put = f"put {_last_part(name)} beside {source.path.name}"
    if outside:
        where = "" if str(outside[0]) == name else f" is {outside[0]}, which"
        return ConversionError(
            f"{source.path}: its label file {name}{where} lies outside of the export, and"
            " callers would get what it holds; if these are the labels, give it with --labels, or"
            f" {put}"
        )
    return ConversionError(
        f"{source.path}: its label file {name} is not here; give it with --labels, or {put}"
    )


def _is_allowed(path: Path, source: Source) -> bool:
    """Whether a description may have a file read, once all links are followed."""
    roots = [source.path.parent, *source.folders]
    for above in source.path.resolve().parents:
        if all((above / part).is_dir() for part in _PADDLECLAS[:2]):
            roots += [above / part for part in _PADDLECLAS]
    return any(within(path, root) and not _is_hidden(path, root) for root in roots)


def _is_hidden(path: Path, root: Path) -> bool:
    """Whether a file lies in a hidden folder below the root, which may be a home directory.

    Volumes of Kubernetes hold links to `..data/FILE`, and that is a link to `..2026_11_30.../`.
    """
    real, root = path.resolve(), root.resolve()
    below = real.relative_to(root).parts if real.is_relative_to(root) else ()
    return any(part.startswith(".") and not part.startswith("..") for part in below)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or a folder above it may not be read
        return False


def _last_part(name: str) -> str:
    return PureWindowsPath(name).name  # which reads / and \ alike
