"""Which pictures a folder holds: DATA/<class>/*, or DATA/train/<class>/*, DATA/val/<class>/*.

A folder of its own is a split where it is called train, val or test (or as others call these);
whatever else it is called, it is a class. Hidden folders (.git, .ipynb_checkpoints) are left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .errors import DatasetError
from .finding import Finding

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
SPLITS = ("train", "val", "test")
_SPLIT_NAMES = frozenset({*SPLITS, "training", "valid", "validation", "eval", "dev", "testing"})


class Picture(NamedTuple):
    """A picture's file, its class, and the split it belongs to ("" where there are none).

    `path` is text, for a hundred thousand of them are held.
    """

    path: str
    class_name: str
    split: str

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return os.path.basename(self.path)  # noqa: PTH119 - no Path object for each picture


@dataclass
class Dataset:
    """What was found.

    Attributes:
        source: the folder or list it was read from.
        pictures: by split, then class, then name.
        classes: in the order of their numbers.
        splits: in the order train, val, test; ("",) where the dataset is not split.
        findings: what is wrong with the files' order, found without opening a picture.
        others: how many files in class folders are no pictures by their suffix.
    """

    source: str
    pictures: list[Picture] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    others: int = 0


def read_folder(folder: Path, split: str = "") -> Dataset:
    """List the pictures of `folder`; what is wrong with single class folders goes to `findings`.

    Args:
        folder: holds a folder per class, or train/, val/ (and test/) that do.
        split: what to call the pictures' split where the folder has none of its own.

    Raises:
        DatasetError: there is no such folder, or it has no folder of pictures.
    """
    dataset = Dataset(str(folder))
    names = _folders(folder)
    if not names:
        loose = "its pictures lie in no class" if _pictures(folder) else "it has no folders"
        raise DatasetError(f"{folder} must hold one folder per class: {loose}")
    if is_split(folder, names):
        dataset.splits = split_order(names)
        for name in dataset.splits:
            _read_classes(folder / name, name, dataset)
    else:
        dataset.splits = (split,)
        _read_classes(folder, split, dataset)
    if not dataset.pictures:
        raise DatasetError(
            f"{folder} holds no pictures in <class>/ folders; read are "
            f"{', '.join(sorted(SUFFIXES))}"
        )
    return dataset


def read_usable_folder(folder: Path) -> Dataset:
    """List the pictures of a folder that has no fault.

    Raises:
        DatasetError: as `read_folder`, and for any finding.
    """
    dataset = read_folder(folder)
    if dataset.findings:
        first, more = dataset.findings[0], len(dataset.findings) - 1
        also = f" ({more} more like this; `check {folder}` lists them)" if more else ""
        raise DatasetError(f"{first.where}: {first.text}{also}")
    return dataset


def is_split(folder: Path, names: list[str]) -> bool:
    """Tell whether the folders in `folder`, called `names`, are splits and not classes."""
    return set(names) <= _SPLIT_NAMES and all(_folders(folder / name) for name in names)


def split_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of splits as people expect them: train, val, test, then any others."""
    order = {name: position for position, name in enumerate(SPLITS)}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def _read_classes(folder: Path, split: str, dataset: Dataset) -> None:
    for name in _folders(folder):
        path = folder / name
        files = _pictures(path)
        dataset.pictures += [Picture(file, name, split) for file in files]
        dataset.others += _others(path)
        deeper = _folders(path)
        if deeper:
            text = f"holds the folder {deeper[0]!r}, which nobody reads; move its pictures up"
            dataset.findings.append(Finding("folder in a class", str(path), text))
        elif not files:
            text = "is a class without pictures; fill it or remove it"
            dataset.findings.append(Finding("empty class", str(path), text))
    dataset.classes = tuple(sorted({*dataset.classes, *_folders(folder)}))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except NotADirectoryError as error:
        raise DatasetError(f"{folder} is a file; give the folder that holds the classes") from error
    except FileNotFoundError as error:
        raise DatasetError(
            f"there is no folder {folder}; it must hold a folder per class"
        ) from error
    except OSError as error:
        raise DatasetError(f"{folder} cannot be read: {error.strerror}") from error


def _folders(folder: Path) -> list[str]:
    return [e.name for e in _entries(folder) if e.is_dir() and not e.name.startswith(".")]


def _pictures(folder: Path) -> list[str]:
    return [e.path for e in _entries(folder) if not e.is_dir() and _suffix(e.name) in SUFFIXES]


def _others(folder: Path) -> int:
    return sum(not e.is_dir() and _suffix(e.name) not in SUFFIXES for e in _entries(folder))


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - as above
