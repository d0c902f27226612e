"""The train and val pictures of a data folder: class folders, or list files of the frameworks."""

from __future__ import annotations

import sys
from pathlib import Path

from examples.datasets.errors import DatasetError
from examples.datasets.lists import LABEL_FILES, read_label_file
from examples.datasets.pictures import Dataset
from examples.datasets.sources import read_sources

from .pictures import DataError, Pictures, class_names, load_pictures, read_pictures

# What a list file may have without its pictures being read otherwise than they are meant.
_HARMLESS = {"class without pictures", "CRLF", "byte order mark", "blank line", "blanks", "tab",
             "backslash", "blank in path"}  # fmt: skip


def load_split(data: Path, split: str, short_side: int) -> Pictures:
    """Read the pictures of `split` ("train" or "val"), short side at most `short_side`.

    `data` holds train/<class>/* and val/<class>/*, or train_list.txt and val_list.txt of PaddleX or
    PaddleClas with their label file, which then gives the classes and their order. A class of the
    label file may have no pictures: it is answered by the network and never learned.

    Raises:
        DataError: the folder or its lists cannot be trained on.
    """
    if not _has_lists(data):
        return load_pictures(data / split, short_side, class_names(data / "train"))
    dataset = _read_list(data, split)
    classes = classes_of(data)
    listed = [(Path(p.path), classes.index(p.class_name)) for p in dataset.pictures]
    missing = [name for i, name in enumerate(classes) if i not in {number for _, number in listed}]
    if missing and split == "train":
        print(f"warning: no pictures of {', '.join(missing)}: never learned", file=sys.stderr)
    if len(classes) - len(missing) < 2 and split == "train":
        raise DataError(f"{data}/train_list.txt has pictures of fewer than two classes")
    return read_pictures(listed, short_side, classes, f"{split}_list.txt")


def classes_of(data: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of the network's answers.

    Raises:
        DataError: there is neither a folder of classes nor a label file.
    """
    if not _has_lists(data):
        return class_names(data / "train")
    for name in LABEL_FILES:
        if (data / name).is_file():
            labels, findings = read_label_file(data / name)
            if labels:
                return labels
            raise DataError(findings[-1].text)
    return _read_list(data, "train").classes


def _has_lists(data: Path) -> bool:
    return (data / "train_list.txt").is_file()


def _read_list(data: Path, split: str) -> Dataset:
    path = data / f"{split}_list.txt"
    try:
        dataset = read_sources([path])
    except DatasetError as error:
        raise DataError(str(error)) from error
    bad = [finding for finding in dataset.findings if finding.kind not in _HARMLESS]
    if bad:
        lines = f" line {bad[0].lines[0]}" if bad[0].lines else ""
        raise DataError(
            f"{bad[0].where}{lines}: {bad[0].text}; `python -m examples.datasets check {path}` "
            "lists all that is wrong"
        )
    return dataset
