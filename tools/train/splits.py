"""The train and val images of a data folder: class folders, or list files of the frameworks."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.datasets.errors import DatasetError
from tools.datasets.images import Dataset
from tools.datasets.lists import LABEL_FILES, find_labels, read_label_file
from tools.datasets.sources import read_sources

from .errors import DataError
from .images import ImageSet, class_names, load_images, read_images

# Findings of a list file with which its images are still read correctly.
_HARMLESS = {"class without images", "CRLF", "byte order mark", "blank line", "blanks", "tab",
             "backslash", "blank in path"}  # fmt: skip


def load_split(data: Path, split: str, short_side: int) -> ImageSet:
    """Read the images of `split`: "train", short side at most `short_side`, or "val", as served.

    `data` holds train/<class>/* and val/<class>/*, or train_list.txt and val_list.txt (or
    train.txt, and val.txt or eval.txt) of PaddleX or PaddleClas with their label file, which then
    gives the classes and their order. A class of the label file may have no images: the network
    has an output for it, which is never trained.

    Raises:
        DataError: the folder or its lists cannot be trained on.
    """
    if _list_file(data, "train") is None:
        classes = class_names(data / "train")
        return load_images(data / split, short_side, classes, as_served=split != "train")
    path = _list_file(data, split)
    if path is None:
        raise DataError(f"{data} has lists and no {split}_list.txt")
    classes = classes_of(data)
    dataset = _read_list(path)
    listed = [(Path(p.path), classes.index(p.class_name)) for p in dataset.images]
    seen = {number for _, number in listed}
    missing = [name for number, name in enumerate(classes) if number not in seen]
    if missing and split == "train":
        print(f"warning: no images of {', '.join(missing)}: never learned", file=sys.stderr)
    if len(seen) < 2 and split == "train":
        raise DataError(f"{path} has images of fewer than two classes")
    return read_images(listed, short_side, classes, path.name, as_served=split != "train")


def classes_of(data: Path) -> tuple[str, ...]:
    """Return the names of the classes in the order of the network's outputs.

    Raises:
        DataError: there is neither a folder of classes nor a list with its label file.
    """
    path = _list_file(data, "train")
    if path is None:
        return class_names(data / "train")
    label_file = find_labels(path, None)
    if label_file is None:
        raise DataError(f"{path} has no {' or '.join(LABEL_FILES)} beside it; write one, in order")
    try:
        labels, findings = read_label_file(label_file)
    except DatasetError as error:
        raise DataError(str(error)) from error
    if not labels:
        raise DataError(findings[-1].text)
    return labels


def _list_file(data: Path, split: str) -> Path | None:
    # PaddleClas' tutorials write eval.txt.
    names = ("val", "eval") if split == "val" else (split,)
    named = [data / f"{name}{end}.txt" for name in names for end in ("_list", "")]
    return next((path for path in named if path.is_file()), None)


def _read_list(path: Path) -> Dataset:
    try:
        dataset = read_sources([path])
    except DatasetError as error:
        raise DataError(str(error)) from error
    bad = [finding for finding in dataset.findings if finding.kind not in _HARMLESS]
    if bad:
        lines = f" line {bad[0].lines[0]}" if bad[0].lines else ""
        raise DataError(
            f"{bad[0].where}{lines}: {bad[0].text}; `python -m tools.datasets check {path}` "
            "lists all that is wrong"
        )
    return dataset
