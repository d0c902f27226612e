"""Reads folders without classes, where a text file beside each image holds `img_1.jpg, 3`.

What counts is the name in the line, as in the programs that came with such data: `img_1.txt` is
only where it stands.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from .errors import DatasetError
from .finding import Finding
from .images import Dataset, Image, folders_in, images_in
from .lists import number_findings

_LINE = re.compile(r"\s*(?P<name>\S(?:.*\S)?)\s*[,\uff0c]\s*(?P<number>[+-]?\d{1,9})\s*")


def has_sidecars(folder: Path) -> bool:
    """Return whether `folder` itself has images, and text files with the same names.

    Raises:
        DatasetError: it is no folder, or cannot be read.
    """
    if folders_in(folder):
        return False
    return any(Path(path).with_suffix(".txt").is_file() for path in images_in(folder))


def read_sidecars(folder: Path, labels: tuple[str, ...], split: str = "") -> Dataset:
    """List the images of `folder`; faults of single ones go to `findings`.

    Args:
        folder: holds images, and text files with their class numbers.
        labels: the classes in the order of their numbers; empty: they are called 0, 1, 2 ...
        split: what to call the images' split.

    Raises:
        DatasetError: it cannot be read, or names no class of any image.
    """
    dataset = Dataset(str(folder), splits=(split,), by_number=True)
    paths = {os.path.basename(path): path for path in images_in(folder)}  # noqa: PTH119
    stems = {os.path.splitext(name)[0] for name in paths}  # noqa: PTH122 - many, as text
    numbers: dict[str, int] = {}
    given_in: dict[str, Path] = {}
    for file in sorted(folder.glob("*.txt")):
        if file.name.startswith("._"):
            continue
        for position, line in enumerate(_lines(file), 1):
            match = _LINE.fullmatch(line)
            if match is None:
                # There may be other text files; one with the name of an image belongs to it.
                if line.strip() and file.stem in stems:
                    text = "is not `img_1.jpg, 3`: name, comma, class number; write it so"
                    _add(dataset, "no class number", file, position, text)
                continue
            name, number = match["name"], int(match["number"])
            if name not in paths:
                text = f"names {name}, which is not in {folder}; correct the name"
                _add(dataset, "missing file", file, position, text)
            elif numbers.setdefault(name, number) != number:
                doubt = f"{number} here and {numbers[name]} in {given_in[name].name}"
                text = f"{name} has class {doubt}; keep the right one"
                _add(dataset, "two classes", file, position, text)
            elif number < 0 or (labels and number >= len(labels)):
                known = f"the {len(labels)} labels have 0 to {len(labels) - 1}"
                text = (
                    f"has class number {number}; {known if labels else 'from 0 on'}: correct it"
                    f"{', or complete the labels' if labels else ''}"
                )
                _add(dataset, "class number out of range", file, position, text)
            given_in.setdefault(name, file)
    dataset.others = sum(1 for _ in folder.glob("*.txt")) - len(set(given_in.values()))
    _name_classes(dataset, paths, numbers, labels)
    return dataset


def read_loose(folder: Path) -> Dataset | None:
    """List the images that lie in `folder` itself, of whatever class; None where it has folders.

    Raises:
        DatasetError: it is no folder, or cannot be read.
    """
    paths = images_in(folder)
    if not paths or folders_in(folder):
        return None
    return Dataset(str(folder), [Image(path, "", "") for path in paths], splits=("",))


def _name_classes(
    dataset: Dataset, paths: dict[str, str], numbers: dict[str, int], labels: tuple[str, ...]
) -> None:
    for name, path in paths.items():
        number = numbers.get(name)
        if number is None:
            text = f"has no class; write `{name}, 3` into a .txt beside it, or take it out"
            dataset.findings.append(Finding("no class number", path, text, images=(path,)))
        elif number >= 0 and (not labels or number < len(labels)):
            called = labels[number] if labels else str(number)
            dataset.images.append(Image(path, called, dataset.splits[0]))
    used = {number for number in numbers.values() if number >= 0}
    if not dataset.images and not used:
        raise DatasetError(f"{dataset.source}: no .txt holds a line such as `img_1.jpg, 3`")
    dataset.classes = labels or tuple(str(number) for number in range(max(used) + 1))
    dataset.findings += number_findings(used, labels, dataset.source)


def _add(dataset: Dataset, kind: str, file: Path, line: int, text: str) -> None:
    dataset.findings.append(Finding(kind, str(file), text, (line,)))


def _lines(file: Path) -> list[str]:
    try:
        data = file.read_bytes()
    except OSError as error:
        raise DatasetError(f"{file} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Older Windows wrote GBK; after a wrong guess the name is not in the folder.
        text = data.decode("gbk", "replace")
    return text.splitlines()
