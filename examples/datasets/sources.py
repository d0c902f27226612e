"""What the command line names, folders or list files, as one dataset."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .errors import DatasetError
from .finding import Finding
from .lists import (
    LABEL_FILES,
    find_labels,
    looks_like_picture,
    number_findings,
    read_label_file,
    read_list,
)
from .pictures import Dataset, Picture, read_folder, split_order


def read_sources(
    paths: Sequence[Path], root: Path | None = None, labels: Path | None = None
) -> Dataset:
    """Return the pictures of all `paths`, which are folders or are list files.

    Args:
        paths: folders of classes, or list files; a label file among the latter is taken as such.
        root: where the paths in lists begin, if not at the list's own folder.
        labels: the label file of all lists, if it is not beside them.

    Raises:
        DatasetError: one of them cannot be read, or folders and lists are mixed.
    """
    for path in paths:
        if not path.exists():
            raise DatasetError(f"there is no {path}; give a folder of classes or a list file")
        if looks_like_picture(path) and path.is_file():
            raise DatasetError(f"{path} is a picture; give the folder of classes, or a list file")
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return _read_lists(paths, root, labels)
    if len(folders) < len(paths):
        raise DatasetError(
            "folders and list files cannot be read together, for the lists name the same pictures; "
            "call once for each"
        )
    if root or labels:
        raise DatasetError("--root and --labels go with list files; leave them out for folders")
    return _joined([read_folder(path, _split_name(path, paths)) for path in folders])


def for_training(dataset: Dataset) -> tuple[str, list[Picture]]:
    """Return the pictures of the train split, and its name for people; all if there is none."""
    for name in ("train", "training"):
        if name in dataset.splits and len(dataset.splits) > 1:
            chosen = [picture for picture in dataset.pictures if picture.split == name]
            return f"{dataset.source}/{name}", chosen
    return dataset.source, dataset.pictures


def _split_name(path: Path, paths: Sequence[Path]) -> str:
    """Return how the pictures of one of several folders are called."""
    if len(paths) == 1:
        return ""
    names = [other.resolve().name for other in paths]
    name = path.resolve().name
    return str(path) if names.count(name) > 1 else name


def _read_lists(paths: Sequence[Path], root: Path | None, given: Path | None) -> Dataset:
    lists = [path for path in paths if path.name not in LABEL_FILES]
    if not lists:
        raise DatasetError(
            f"{paths[0]} holds labels; give a list of pictures such as train_list.txt"
        )
    if root and not root.is_dir():
        raise DatasetError(f"there is no folder {root}; --root is where the paths in lists begin")
    label_files = {path: find_labels(path, given) for path in lists}
    known: dict[Path | None, tuple[str, ...]] = {None: ()}
    findings: list[Finding] = []
    for label_file in label_files.values():
        if label_file and label_file not in known:
            known[label_file], more = read_label_file(label_file)
            findings += more
    datasets = [read_list(path, root, known[label_files[path]]) for path in lists]
    for file, names in known.items():
        used = {
            names.index(p.class_name) if names else int(p.class_name)
            for dataset in datasets
            if label_files[Path(dataset.source)] == file
            for p in dataset.pictures
        }
        findings += number_findings(used, names, str(file or lists[0]))
    joined = _joined(datasets)
    joined.findings = findings + joined.findings
    return joined


def _joined(datasets: Sequence[Dataset]) -> Dataset:
    joined = Dataset(" ".join(dataset.source for dataset in datasets))
    for dataset in datasets:
        joined.pictures += dataset.pictures
        joined.findings += dataset.findings
        joined.others += dataset.others
    joined.splits = split_order({name for one in datasets for name in one.splits})
    classes = tuple(dict.fromkeys(name for one in datasets for name in one.classes))
    # Lists without labels have numbers for names: 10 comes after 9.
    numbers = all(name.isdecimal() for name in classes)
    in_order = len({one.classes for one in datasets}) == 1
    joined.classes = classes if in_order else tuple(sorted(classes, key=int if numbers else str))
    return joined
