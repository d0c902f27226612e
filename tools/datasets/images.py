"""The images of a folder: DATA/<class>/*, or DATA/train/<class>/*, DATA/val/<class>/*.

A folder of its own is a split where it is called train, val or test (or as others call these);
whatever else it is called, it is a class. Hidden folders (.git, .ipynb_checkpoints) are left out,
and so is what a Mac packs beside the images: the folder __MACOSX and files that begin with `._`.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from .errors import DatasetError
from .finding import Finding

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
SPLITS = ("train", "val", "test")
TRAIN_NAMES, TEST_NAMES = ("train", "training"), ("test", "testing")
_SPLIT_NAMES = frozenset({*SPLITS, "training", "valid", "validation", "eval", "dev", "testing"})
_PACKED_BY_MAC = "__MACOSX"


class Image(NamedTuple):
    """An image's file, its class, and the split it belongs to ("" where there are none).

    `path` is text, because a hundred thousand of them are in memory.
    """

    path: str
    class_name: str
    split: str

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return os.path.basename(self.path)  # noqa: PTH119 - no Path object for each image


@dataclass
class Dataset:
    """The images and classes that were found, and the faults.

    Attributes:
        source: the folder or list it was read from.
        images: by split, then class, then name.
        classes: in the order of their numbers.
        splits: in the order train, val, test; ("",) where the dataset is not split.
        findings: what is wrong with the files' order, found without opening an image.
        others: how many files in class folders are no images by their suffix.
        by_number: the classes were given as numbers, and their names need not be folders' names.
    """

    source: str
    images: list[Image] = field(default_factory=list)
    classes: tuple[str, ...] = ()
    splits: tuple[str, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    others: int = 0
    by_number: bool = False


def read_folder(folder: Path, split: str = "", without: Collection[str] = ()) -> Dataset:
    """List the images of `folder`; faults of single class folders go to `findings`.

    Args:
        folder: holds a folder per class, or train/, val/ (and test/) that do.
        split: what to call the images' split where the folder has none of its own.
        without: class folders that are passed over, as if they were not there.

    Raises:
        DatasetError: there is no such folder, or it has no folder of images.
    """
    dataset = Dataset(str(folder))
    names = folders_in(folder)
    if not names:
        loose = (
            "its images lie in no class; move each into the folder of its class, or write "
            "`img_1.jpg, 3` into img_1.txt beside img_1.jpg"
        )
        what = loose if images_in(folder) else "it has no folders"
        raise DatasetError(f"{folder} must hold one folder per class: {what}")
    if is_split(folder, names):
        dataset.splits = split_order(names)
        parents = [folder / name for name in dataset.splits]
    else:
        dataset.splits = (split,)
        parents = [folder]
    _check_known(folder, without, [name for parent in parents for name in folders_in(parent)])
    for parent, name in zip(parents, dataset.splits, strict=True):
        _read_classes(parent, name, dataset, without)
    if not dataset.images:
        raise DatasetError(
            f"{folder} holds no images in <class>/ folders; read are {', '.join(sorted(SUFFIXES))}"
        )
    return dataset


def is_split(folder: Path, names: list[str]) -> bool:
    """Return whether the folders `names` in `folder` are splits and not classes."""
    return set(names) <= _SPLIT_NAMES and all(folders_in(folder / name) for name in names)


def split_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of splits as people expect them: train, val, test, then any others."""
    order = {name: position for position, name in enumerate(SPLITS)}
    return tuple(sorted(names, key=lambda name: (order.get(name, len(order)), name)))


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Return the classes in the order of their names; numbers count, so that 10 comes after 9."""
    names = set(names)
    numbers = all(name.isdecimal() for name in names)
    return tuple(sorted(names, key=lambda name: (int(name) if numbers else 0, name)))


def folders_in(folder: Path) -> list[str]:
    """Return the names of the folders that may be classes or splits.

    Raises:
        DatasetError: there is no such folder, or it cannot be read.
    """
    return [
        e.name
        for e in _entries(folder)
        if e.is_dir() and not e.name.startswith(".") and e.name != _PACKED_BY_MAC
    ]


def images_in(folder: Path) -> list[str]:
    """Return the paths of the images that lie in the folder itself.

    Raises:
        DatasetError: there is no such folder, or it cannot be read.
    """
    return [e.path for e in _entries(folder) if _is_image(e)]


def _check_known(folder: Path, without: Collection[str], names: Collection[str]) -> None:
    unknown = sorted(set(without) - set(names))
    if unknown:
        raise DatasetError(
            f"{folder} has no class {', '.join(unknown)} to leave out; its folders are "
            f"{', '.join(class_order(names))}"
        )


def _read_classes(folder: Path, split: str, dataset: Dataset, without: Collection[str]) -> None:
    names = [name for name in folders_in(folder) if name not in without]
    for name in names:
        path = folder / name
        files = images_in(path)
        dataset.images += [Image(file, name, split) for file in files]
        dataset.others += _others(path)
        deeper = folders_in(path)
        if deeper:
            text = f"holds the folder {deeper[0]!r}, which is not read; move its images up"
            dataset.findings.append(Finding("folder in a class", str(path), text))
        elif not files:
            text = "is a class without images; fill it or remove it"
            dataset.findings.append(Finding("empty class", str(path), text))
    dataset.classes = class_order({*dataset.classes, *names})


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


def _others(folder: Path) -> int:
    return sum(not e.is_dir() and not _is_image(e) for e in _entries(folder))


def _is_image(entry: os.DirEntry[str]) -> bool:
    named_so = _suffix(entry.name) in SUFFIXES and not entry.name.startswith("._")
    return named_so and not entry.is_dir()


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()  # noqa: PTH122 - as above
