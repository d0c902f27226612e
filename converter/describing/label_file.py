"""The label file that a description names by a path from where its framework is run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PureWindowsPath

from bundle.labels import read_labels

from ..errors import ConversionError
from .form import Source

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
        ConversionError: it is needed and not here.
        BundleError: it is no label file.
    """
    if name is None:
        return None
    name = str(name).translate(_ESCAPED)
    found = next((path for path in _places(name, source) if _is_file(path)), None)
    if found is None:
        if source.need_labels:
            raise ConversionError(
                f"{source.path}: its label file {name} is not here; give it with --labels, or put"
                f" {_last_part(name)} beside {source.path.name}"
            )
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


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # the name is too long, or a folder above it may not be read
        return False


def _last_part(name: str) -> str:
    return PureWindowsPath(name).name  # which reads / and \ alike
