"""Reads the folders or list files of a command line as one dataset."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from tools.text import ranges

from .errors import DatasetError
from .finding import Finding
from .images import TRAIN_NAMES, Dataset, Image, class_order, read_folder, split_order
from .lists import (
    LABEL_FILES,
    find_labels,
    looks_like_image,
    number_findings,
    read_label_file,
    read_list,
)
from .sidecars import has_sidecars, read_loose, read_sidecars

# A dataset with these findings is usable: the class has a number, and no images.
_HARMLESS = frozenset({"class without images", "gap in class numbers"})


def read_sources(
    paths: Sequence[Path], root: Path | None = None, labels: Path | None = None
) -> Dataset:
    """Return the images of all `paths`, which are folders or are list files.

    Args:
        paths: folders of classes, folders with a .txt beside each image, or list files; a label
            file among the latter is taken as such.
        root: where the paths in lists begin, if not at the list's own folder.
        labels: the label file of all lists, if it is not beside them, or of the classes that the
            .txt files number.

    Raises:
        DatasetError: one of them cannot be read, or folders and lists are mixed.
    """
    _check_paths(paths)
    folders = [path for path in paths if path.is_dir()]
    if not folders:
        return _read_lists(paths, root, labels)
    if len(folders) < len(paths):
        raise DatasetError(
            "folders and list files cannot be read together, for the lists name the same images; "
            "call once for each"
        )
    in_classes = [path for path in folders if not has_sidecars(path)]
    if root or (labels and in_classes):
        raise DatasetError(
            "--root and --labels go with list files, and --labels with a .txt beside each image; "
            "leave them out for folders of classes"
        )
    known, findings = read_label_file(labels) if labels else ((), [])
    datasets = [
        read_folder(path, _split_name(path, paths))
        if path in in_classes
        else read_sidecars(path, known, _split_name(path, paths))
        for path in folders
    ]
    joined = _joined(datasets)
    joined.findings = findings + joined.findings
    return joined


def _check_paths(paths: Sequence[Path]) -> None:
    for path in paths:
        if not path.exists():
            raise DatasetError(f"there is no {path}; give a folder of classes or a list file")
        if looks_like_image(path) and path.is_file():
            raise DatasetError(f"{path} is an image; give the folder of classes, or a list file")


def read_usable_folder(
    folder: Path, labels: Path | None = None, without: Collection[str] = ()
) -> Dataset:
    """List the images of a folder without faults; the remaining findings do no harm.

    Args:
        folder: holds a folder per class, a split of such, or a .txt beside each image.
        labels: what numbers in .txt files are called; without such files it is not read.
        without: class folders that are passed over.

    Raises:
        DatasetError: it cannot be read, or has a fault.
    """
    if folder.is_dir() and has_sidecars(folder):
        if without:
            raise DatasetError(f"{folder} has no folders; --leave-out goes with class folders")
        dataset = read_sources([folder], labels=labels)
    else:
        dataset = read_folder(folder, without=without)
    faults = [finding for finding in dataset.findings if finding.kind not in _HARMLESS]
    if faults:
        first, more = faults[0], len(faults) - 1
        also = f" ({more} more like this; `check {folder}` lists them)" if more else ""
        line = f" line {ranges(first.lines)}" if first.lines else ""
        raise DatasetError(f"{first.where}{line}: {first.text}{also}")
    return dataset


def read_labels_of_classes(path: Path) -> tuple[str, ...]:
    """Return the labels of a file that gives every class a name of its own.

    Raises:
        DatasetError: it cannot be read, or has a label twice.
    """
    labels, findings = read_label_file(path)
    if len(set(labels)) < max(len(labels), 1):
        raise DatasetError(findings[-1].text)
    return labels


def named_by_number(dataset: Dataset, labels: tuple[str, ...]) -> Dataset | None:
    """Return `dataset` with the labels of its folders 0, 1, 2 ...; None if these are no numbers.

    Raises:
        DatasetError: a folder's number is beyond the labels.
    """
    names = set(dataset.classes)
    if not all(name.isdecimal() for name in names) or names & set(labels):
        return None
    beyond = [name for name in dataset.classes if int(name) >= len(labels)]
    if beyond:
        raise DatasetError(
            f"{dataset.source} has the class {beyond[0]}; the {len(labels)} labels have 0 to "
            f"{len(labels) - 1}: rename the folder, or complete the labels"
        )
    images = [p._replace(class_name=labels[int(p.class_name)]) for p in dataset.images]
    return replace(dataset, images=images, classes=labels, by_number=True)


def read_measurable(path: Path, root: Path | None = None) -> Dataset:
    """Return the images of `path`, with or without classes.

    Raises:
        DatasetError: as `read_sources`.
    """
    loose = read_loose(path) if path.is_dir() and root is None else None
    return loose or read_sources([path], root)


def for_training(dataset: Dataset) -> tuple[str, list[Image]]:
    """Return the name and the images of the train split; all images if there is none."""
    for name in TRAIN_NAMES:
        if name in dataset.splits and len(dataset.splits) > 1:
            chosen = [image for image in dataset.images if image.split == name]
            return f"{dataset.source}/{name}", chosen
    return dataset.source, dataset.images


def _split_name(path: Path, paths: Sequence[Path]) -> str:
    """Return the name of the split for the images of one of several folders."""
    if len(paths) == 1:
        return ""
    names = [other.resolve().name for other in paths]
    name = path.resolve().name
    return str(path) if names.count(name) > 1 else name


def _read_lists(paths: Sequence[Path], root: Path | None, given: Path | None) -> Dataset:
    lists = [path for path in paths if path.name not in LABEL_FILES]
    if not lists:
        raise DatasetError(f"{paths[0]} holds labels; give a list of images such as train_list.txt")
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
            for p in dataset.images
        }
        findings += number_findings(used, names, str(file or lists[0]))
    joined = _joined(datasets)
    joined.findings = findings + joined.findings
    return joined


def _joined(datasets: Sequence[Dataset]) -> Dataset:
    joined = Dataset(" ".join(dataset.source for dataset in datasets))
    for dataset in datasets:
        joined.images += dataset.images
        joined.findings += dataset.findings
        joined.others += dataset.others
    joined.splits = split_order({name for one in datasets for name in one.splits})
    classes = tuple(dict.fromkeys(name for one in datasets for name in one.classes))
    in_order = len({one.classes for one in datasets}) == 1
    joined.classes = classes if in_order else class_order(classes)
    joined.by_number = all(one.by_number for one in datasets)
    return joined
