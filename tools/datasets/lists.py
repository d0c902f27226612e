"""Reads list files of PaddleX and PaddleClas, `path/to/image.jpg 3` a line, and their labels.

The frameworks split a line at blanks (PaddleClas at each single one) and join the path to a root
with the system's separator; whatever they would stumble over is a finding, by line number. The
line is still read the way it was meant, so that one fault does not hide the next.
"""

from __future__ import annotations

import codecs
import os
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from bundle.errors import BundleError
from bundle.labels import read_labels
from tools.text import ranges

from .errors import DatasetError
from .finding import Finding
from .images import SUFFIXES, Dataset, Image

LABEL_FILES = ("labels.txt", "label_list.txt")
_SHOWN = 12
_LINE = re.compile(r"(?P<path>.*?\S)(?P<gap>\s+)(?P<number>[+-]?\d+)")
_WIDE_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


@dataclass
class _Faults:
    """Line numbers by kind of fault, with a text for each kind."""

    where: str
    lines: dict[tuple[str, str], list[int]] = field(default_factory=lambda: defaultdict(list))
    images: dict[tuple[str, str], list[str]] = field(default_factory=lambda: defaultdict(list))

    def add(self, kind: str, text: str, line: int, image: str = "") -> None:
        self.lines[kind, text].append(line)
        if image:
            self.images[kind, text].append(image)

    def findings(self) -> list[Finding]:
        return [
            Finding(kind, self.where, text, tuple(lines), tuple(self.images[kind, text]))
            for (kind, text), lines in self.lines.items()
        ]


def read_list(path: Path, root: Path | None, labels: tuple[str, ...]) -> Dataset:
    """Read one list file; images that are missing are left out and are findings.

    Args:
        path: the list; its name without `_list.txt` is the split.
        root: what its paths begin at; its own folder if None.
        labels: the classes in the order of their numbers, empty if not known.

    Raises:
        DatasetError: the file cannot be read or is no text.
    """
    faults = _Faults(str(path))
    dataset = Dataset(str(path), splits=(path.stem.removesuffix("_list"),))
    text = _text(path, faults)
    seen: dict[str, tuple[int, int]] = {}
    numbers: set[int] = set()
    for number, line in enumerate(_lines(text, faults), 1):
        parsed = _parsed(line, number, faults)
        if parsed is None:
            continue
        name, class_id = parsed
        if name in seen:
            _add_repeated(faults, name, class_id, number, seen[name])
            continue
        seen[name] = number, class_id
        if not _in_range(class_id, labels, number, faults):
            continue
        numbers.add(class_id)
        _check_folder(name, class_id, labels, number, faults)
        # not Path: one for each of a hundred thousand lines
        full = os.path.join(root or path.parent, name)  # noqa: PTH118
        if not os.path.exists(full):  # noqa: PTH110
            base = root or path.parent
            what = f"is not under {base}; correct the path, or give the folder with --root"
            faults.add("missing file", what, number, name)
            continue
        dataset.images.append(
            Image(full, labels[class_id] if labels else str(class_id), dataset.splits[0])
        )
    dataset.findings = faults.findings()
    dataset.classes = labels or tuple(str(number) for number in sorted(numbers))
    return dataset


def _add_repeated(
    faults: _Faults, name: str, class_id: int, number: int, before: tuple[int, int]
) -> None:
    """Report the image of line `number`, which line `before[0]` has with class `before[1]`."""
    first, class_before = before
    if class_before == class_id:
        faults.add("listed twice", "is in the list already; remove the line", number, name)
        return
    doubt = f"has class {class_id} here and {class_before} in line {first}; keep the right one"
    faults.add("two classes", f"{name} {doubt}", number, name)


def find_labels(path: Path, given: Path | None) -> Path | None:
    """Return the label file that goes with the list `path`."""
    if given:
        return given
    beside = [path.parent / name for name in LABEL_FILES if (path.parent / name).is_file()]
    return beside[0] if beside else None


def read_label_file(path: Path) -> tuple[tuple[str, ...], list[Finding]]:
    """Return the labels of a file and its faults; no labels if they are in doubt.

    Raises:
        DatasetError: the file cannot be read or is no text.
    """
    faults = _Faults(str(path))
    _lines(_text(path, faults), faults)
    findings = faults.findings()
    try:
        labels = read_labels(path)
    except BundleError as error:
        return (), [*findings, Finding("label file", str(path), str(error))]
    twice = sorted({label for label in labels if labels.count(label) > 1})
    if twice:
        text = f"the label {twice[0]!r} is there twice; each class needs a name of its own"
        findings.append(Finding("label file", str(path), text))
    return labels, findings


def number_findings(numbers: set[int], labels: tuple[str, ...], where: str) -> list[Finding]:
    """Return the faults of the class numbers that all lists together use."""
    if not numbers:
        return []
    if labels:
        unused = [name for number, name in enumerate(labels) if number not in numbers]
        more = f" and {len(unused) - _SHOWN} more" if len(unused) > _SHOWN else ""
        names = ", ".join(unused[:_SHOWN]) + more
        text = f"no list has an image of {names}; add images or remove the label"
        return [Finding("class without images", where, text)] if unused else []
    missing = [number for number in range(max(numbers)) if number not in numbers]
    if not missing:
        return []
    if missing == [0]:
        text = "class numbers begin at 1; the frameworks count from 0"
    else:
        text = f"no image has class number {ranges(missing)}; number the classes 0, 1, 2 ..."
    return [Finding("gap in class numbers", where, text)]


def _text(path: Path, faults: _Faults) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    if data.startswith(_WIDE_MARKS) or b"\0" in data:
        raise DatasetError(f"{path} is UTF-16 or no text; save it as UTF-8 without BOM")
    if not data.strip():
        raise DatasetError(f"{path} is empty; write a line `path/to/image.jpg 0` per image")
    if data.startswith(codecs.BOM_UTF8):
        faults.add(
            "byte order mark",
            "begins with a BOM, which becomes part of the first name; save it as UTF-8 without BOM",
            1,
        )
        data = data.removeprefix(codecs.BOM_UTF8)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
    faults.add("encoding", "is not UTF-8 from this line on; save it as UTF-8 without BOM", line)
    try:
        return data.decode("gbk")
    except UnicodeDecodeError:
        return data.decode("utf-8", "surrogateescape")


def _lines(text: str, faults: _Faults) -> list[str]:
    lines = text.removesuffix("\n").split("\n")
    for number, line in enumerate(lines, 1):
        if line.endswith("\r"):
            faults.add("CRLF", "ends with CRLF; save the file with line ends LF", number)
    return [line.removesuffix("\r") for line in lines]


def _parsed(line: str, number: int, faults: _Faults) -> tuple[str, int] | None:
    """Return path and class number of a line, with any separator between them."""
    if not line.strip():
        faults.add("blank line", "is blank; remove it", number)
        return None
    match = _LINE.fullmatch(line.strip())
    if match is None:
        text = "is not `path/to/image.jpg 0`: no whole number after the last blank; write it so"
        faults.add("no class number", text, number)
        return None
    name, gap = match["path"], match["gap"]
    if "\t" in gap:
        text = "has a tab between path and class number; put one blank there"
        faults.add("tab", text, number)
    elif gap != " ":
        text = (
            "has more than one blank, or a wide one, before the class number; put one blank there"
        )
        faults.add("blanks", text, number)
    if re.search(r"\s", name):
        text = (
            "has a blank in its path, where the frameworks cut it; rename the file or folder, for "
            "example with _"
        )
        faults.add("blank in path", text, number, name)
    if "\\" in name:
        text = "has backslashes in its path, which only Windows reads; write / instead"
        faults.add("backslash", text, number, name)
        name = name.replace("\\", "/")
    return name, int(match["number"])


def _in_range(class_id: int, labels: tuple[str, ...], line: int, faults: _Faults) -> bool:
    if class_id < 0 or (labels and class_id >= len(labels)):
        known = f"the {len(labels)} labels have 0 to {len(labels) - 1}" if labels else "from 0 on"
        text = f"has class number {class_id}; {known}: correct it, or complete the labels"
        faults.add("class number out of range", text, line)
        return False
    return True


def _check_folder(
    name: str, class_id: int, labels: tuple[str, ...], line: int, faults: _Faults
) -> None:
    """Report an image in the folder of another class: the numbers have another order."""
    folder = name.split("/")[-2:-1]
    if folder and folder[0] in labels and labels[class_id] != folder[0]:
        text = (
            f"lies in the folder {folder[0]}, and its number {class_id} is the label "
            f"{labels[class_id]}; number the classes in the order of the label file"
        )
        faults.add("number of another class", text, line, name)


def looks_like_image(path: Path) -> bool:
    """Return whether the suffix is that of an image, where a list is expected."""
    return path.suffix.lower() in SUFFIXES
