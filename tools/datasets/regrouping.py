"""Merges classes by rules such as `glass: RecyclableWaste`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from bundle.errors import BundleError
from bundle.strict_yaml import NotText, read_yaml

from .errors import DatasetError
from .images import Dataset, Image


def read_rules(path: Path) -> dict[str, str | None]:
    """Return the new class of each old one; None drops it.

    Raises:
        DatasetError: the file cannot be read, or holds something else than names of folders.
    """
    rules = read_renaming(path)
    for new in rules.values():
        if new is not None:
            _check_folder_name(new, path)
    return rules


def read_renaming(path: Path) -> dict[str, str | None]:
    """Return the new name of each class, a folder name or not; None drops the class.

    Raises:
        DatasetError: the file cannot be read, or holds something else than names.
    """
    try:
        document = read_yaml(path, all_labels=True)
    except BundleError as error:
        raise DatasetError(str(error)) from error
    if not isinstance(document, dict) or not document:
        raise DatasetError(f"{path} must hold lines `old class: new class` (null drops a class)")
    return {
        _name(old, path): None if _drops(new) else _name(new, path) for old, new in document.items()
    }


def _drops(new: object) -> bool:
    return isinstance(new, NotText) and new.kind == "nothing"


def _name(value: object, path: Path) -> str:
    if isinstance(value, NotText):
        raise DatasetError(
            f"{path} line {value.line}: {value.written or 'nothing'} is no name of a class, for"
            f" YAML reads it as {value.kind}; put it in quotes"
        )
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise DatasetError(f"{path}: {value!r} is no name of a class; put it in quotes")
    return str(value)


def regroup(
    dataset: Dataset, rules: dict[str, str | None], rules_file: Path
) -> list[tuple[Image, str]]:
    """Return the images that stay, in their new classes, with their paths in the new dataset.

    Names that two old classes share get the old class in front.

    Raises:
        DatasetError: a class has no rule, a rule no class, or nothing stays.
    """
    used = {image.class_name for image in dataset.images}
    unmapped = [name for name in dataset.classes if name in used and name not in rules]
    if unmapped:
        raise DatasetError(
            f"{rules_file} has no rule for {', '.join(unmapped)}; add `{unmapped[0]}: NEW_CLASS`, "
            f"or `{unmapped[0]}: null` to drop it"
        )
    unknown = [name for name in rules if name not in dataset.classes]
    if unknown:
        raise DatasetError(
            f"{rules_file} has a rule for {', '.join(unknown)}, and {dataset.source} has only "
            f"{', '.join(dataset.classes)}; correct the name"
        )
    kept = [
        (image, image._replace(class_name=new))
        for image in dataset.images
        if (new := rules[image.class_name]) is not None
    ]
    if not kept:
        raise DatasetError(f"{rules_file} drops every class; give at least one a new name")
    return _placed(kept)


def _placed(kept: Sequence[tuple[Image, Image]]) -> list[tuple[Image, str]]:
    def place(image: Image, name: str) -> str:
        return "/".join(part for part in (image.split, image.class_name, name) if part)

    wanted = Counter(place(new, new.name) for _, new in kept)
    taken: set[str] = set()
    placed = []
    for old, new in kept:
        path = place(new, new.name)
        if wanted[path] > 1:
            path = place(new, f"{old.class_name}_{new.name}")
        if path in taken or (wanted[path] and path != place(new, new.name)):
            raise DatasetError(f"{old.path}: another image is called {path} too; rename it")
        taken.add(path)
        placed.append((new, path))
    return placed


def _check_folder_name(name: str, path: Path) -> None:
    if not name.strip() or name != name.strip() or name.startswith(".") or set(name) & set("/\\"):
        raise DatasetError(
            f"{path}: {name!r} cannot be a folder's name; leave out / and \\, blanks at its ends "
            "and a dot in front"
        )
