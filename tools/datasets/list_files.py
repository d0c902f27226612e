"""Writes list and label files in the forms that PaddleX and PaddleClas read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from tools.text import printable

from .errors import DatasetError
from .images import Image

PADDLEX, PADDLECLAS, FOLDERS = "paddlex", "paddleclas", "folders"
FORMS = (PADDLEX, PADDLECLAS, FOLDERS)


_LIST = re.compile(r"(train|val|valid|validation|eval|dev|test)(_list)?\.txt")


def lists_in(folder: Path) -> list[str]:
    """Return the names of the files in `folder` that have names of image lists."""
    names = sorted(path.name for path in folder.glob("*.txt"))
    return [name for name in names if _LIST.fullmatch(name)]


def check_names(images: Sequence[Image], form: str, *, by_number: bool = False) -> None:
    """Refuse names that a list file cannot hold.

    Args:
        images: the images, in their classes.
        form: one of `FORMS`; without lists every name will do.
        by_number: the classes' folders are called by their numbers.

    Raises:
        DatasetError: a name holds a blank, or is not text.
    """
    for image in images if form != FOLDERS else ():
        for kind, name in (("folder", image.class_name), ("image", image.name)):
            if kind == "folder" and by_number:
                continue
            where = printable(image.path)
            if any(character.isspace() for character in name):
                raise DatasetError(
                    f"{where}: the {kind} has a blank in its name, and the frameworks cut a list's "
                    f"line at blanks; rename it to {printable('_'.join(name.split()))}, or give "
                    "--form folders"
                )
            if any("\udc80" <= character <= "\udcff" for character in name):
                raise DatasetError(f"{where}: the {kind}'s name is not UTF-8; rename it")


def write_lists(
    folder: Path, files: Sequence[tuple[Image, str]], classes: Sequence[str], form: str
) -> list[str]:
    """Write the lists of all splits and the labels; return the names of the files.

    Args:
        folder: where they go; paths in the lists begin here.
        files: images, and their paths below `folder`.
        classes: in the order of their numbers.
        form: one of `FORMS`.
    """
    if form == FOLDERS:
        return []
    number = {name: position for position, name in enumerate(classes)}
    lines: dict[str, list[str]] = {}
    for image, path in files:
        lines.setdefault(image.split, []).append(f"{path} {number[image.class_name]}")
    written = {f"{split}_list.txt": texts for split, texts in lines.items()}
    if form == PADDLEX:
        written["labels.txt"] = list(classes)
    else:
        written["label_list.txt"] = [f"{position} {name}" for name, position in number.items()]
    for name, texts in written.items():
        # newline: Windows would write CRLF, which becomes part of a label
        with (folder / name).open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(f"{text}\n" for text in texts)
    return sorted(written)
