"""Scores that a framework gave on images, in the files it can write.

scores.csv   a line an image: its file, then a score a class; the first line says
             `image,LABEL,LABEL...`, and its labels may stand in any order
scores.npz   arrays `names` [N] and `scores` [N, classes]
scores.npy   [N, classes], a row an image in the sorted order of their files
"""

from __future__ import annotations

import csv
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import ConversionError

_FORMS = "a .csv of image,score,score..., a .npz of names and scores, or a .npy of scores"
_SHOWN = 3
_LARGEST = 2 << 30
# How much an archive may unpack to: scores hardly shrink, so more is made to fill the memory.
_LARGEST_UNPACKED, _LARGEST_RATIO = 64 << 20, 50


@dataclass(frozen=True)
class ReferenceScores:
    """What a reference file holds.

    Attributes:
        path: the file.
        names: of the images, one a row; None: in the sorted order of their files.
        classes: what the columns are called; None: in the order of the classes.
        scores: float64 [N, classes].
    """

    path: Path
    names: tuple[str, ...] | None
    classes: tuple[str, ...] | None
    scores: np.ndarray


def read_reference(path: Path) -> ReferenceScores:
    """Read a reference file.

    Raises:
        ConversionError: the file is missing, of another form, or has no scores.
    """
    readers = {".csv": _read_csv, ".npz": _read_npz, ".npy": _read_npy}
    read = readers.get(path.suffix.lower())
    if read is None:
        raise ConversionError(f"--reference {path}: is none of {_FORMS}")
    try:
        size = path.stat().st_size
        if size > _LARGEST:
            raise ValueError(f"it is larger than {_LARGEST >> 30} GiB")
        found = read(path)
    except FileNotFoundError as error:
        raise ConversionError(f"--reference {path}: there is no such file") from error
    except (MemoryError, RecursionError) as error:  # of a head that numpy evaluates, too
        raise ConversionError(
            f"--reference {path}: takes more memory than there is, or its head is damaged; write it"
            f" again as {_FORMS}"
        ) from error
    except (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, csv.Error) as error:
        raise ConversionError(
            f"--reference {path}: cannot be read ({error}); write it again as {_FORMS}"
        ) from error
    _check(found)
    return found


def _check(found: ReferenceScores) -> None:
    scores, where = found.scores, f"--reference {found.path}"
    if scores.ndim != 2 or 0 in scores.shape:
        raise ConversionError(
            f"{where}: scores have the shape {list(scores.shape)}; a row for each image and a"
            " column for each class are needed"
        )
    if not np.isfinite(scores).all():
        row = int(np.flatnonzero(~np.isfinite(scores).all(axis=1))[0])
        raise ConversionError(f"{where}: row {row + 1} has a score that is no finite number")
    if found.names is None:
        return
    if len(found.names) != len(scores):
        raise ConversionError(f"{where}: {len(found.names)} names, {len(scores)} rows of scores")
    twice = sorted(name for name, count in Counter(found.names).items() if count > 1)
    if twice:
        raise ConversionError(f"{where}: {twice[0]!r} stands there twice; each image has one row")


def _read_npy(path: Path) -> ReferenceScores:
    with path.open("rb") as file:
        array = np.load(file, allow_pickle=False)
    if not isinstance(array, np.ndarray):
        raise ValueError("it is a .npz under another name")
    return ReferenceScores(path, None, None, _numbers(array))


def _read_npz(path: Path) -> ReferenceScores:
    with path.open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        if isinstance(arrays, np.ndarray):
            raise ValueError("it is a .npy under another name")
        missing = [name for name in ("names", "scores") if name not in arrays]
        unpacked = sum(member.file_size for member in arrays.zip.infolist())
        if unpacked > max(_LARGEST_UNPACKED, _LARGEST_RATIO * path.stat().st_size):
            raise ValueError(f"it unpacks to {unpacked} bytes, more than scores do")
        if missing:
            raise ValueError(f"it has no array {missing[0]!r}, only {', '.join(arrays)}")
        names = tuple(str(name) for name in np.ravel(arrays["names"]))
        return ReferenceScores(path, names, None, _numbers(arrays["scores"]))


def _numbers(array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise ValueError(f"scores are numbers, not {array.dtype}")
    return array.astype(np.float64)


def _read_csv(path: Path) -> ReferenceScores:
    # with the mark that spreadsheets write in front
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = [row for row in csv.reader(file) if row]
    if not rows or rows[0][0].strip().lower() != "image" or len(rows[0]) < 2:
        raise ValueError("its first line is not image, then a name for each class")
    header = tuple(cell.strip() for cell in rows[0][1:])
    for number, row in enumerate(rows[1:], 2):
        if len(row) != len(header) + 1:
            raise ValueError(f"line {number} has {len(row)} fields, the first line {len(rows[0])}")
    scores = [_floats(row[1:], number) for number, row in enumerate(rows[1:], 2)]
    array = np.array(scores, np.float64).reshape(len(scores), len(header))
    return ReferenceScores(path, tuple(row[0].strip() for row in rows[1:]), header, array)


def _floats(cells: Sequence[str], line: int) -> list[float]:
    try:
        return [float(cell) for cell in cells]
    except ValueError as error:
        raise ValueError(f"line {line}: {error}") from error


def rows_by_image(found: ReferenceScores, images: Sequence[str]) -> dict[str, np.ndarray]:
    """Return image -> its row, for every image; `images` are paths of files, sorted.

    A name is a file's name, or as much of its path as distinguishes it.

    Raises:
        ConversionError: an image has no row, or a row no image.
    """
    where = f"--reference {found.path}"
    if found.names is None:
        if len(found.scores) != len(images):
            raise ConversionError(
                f"{where}: has {len(found.scores)} rows, and --images {len(images)} images; a .npy"
                " has a row for each, in the sorted order of their files; a .csv or .npz names them"
            )
        return dict(zip(images, found.scores, strict=True))
    rows: dict[str, np.ndarray] = {}
    unknown = []
    for name, row in zip(found.names, found.scores, strict=True):
        image = _image_of(name, images, where)
        if image is None:
            unknown.append(name)
        elif image in rows:
            raise ConversionError(f"{where}: {image} has two rows, one of them as {name!r}")
        else:
            rows[image] = row
    missing = [image for image in images if image not in rows]
    for names, what in ((unknown, "names no image in --images"), (missing, "has no row")):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            raise ConversionError(
                f"{where}: {', '.join(names[:_SHOWN])}{more} {what}; the same images are needed on"
                " both sides"
            )
    return {image: rows[image] for image in images}


def _image_of(name: str, images: Sequence[str], where: str) -> str | None:
    wanted = Path(name.replace("\\", "/")).parts
    for length in range(1, len(wanted) + 1):
        end = wanted[-length:]
        fitting = [image for image in images if Path(image).parts[-length:] == end]
        if len(fitting) == 1:
            return fitting[0]
        if not fitting:
            return None
    raise ConversionError(
        f"{where}: {name!r} may be {' or '.join(fitting[:_SHOWN])}; write their folders too"
    )


def in_class_order(found: ReferenceScores, labels: Sequence[str]) -> np.ndarray:
    """Return the scores with columns in the order of the bundle's classes.

    Raises:
        ConversionError: there are not as many columns as classes.
    """
    scores = found.scores
    if scores.shape[1] != len(labels):
        raise ConversionError(
            f"--reference {found.path}: has {scores.shape[1]} scores an image, and the bundle"
            f" {len(labels)} classes; is it of another model?"
        )
    columns = list(found.classes or ())
    numbers = [str(number) for number in range(len(labels))]
    for names in (list(labels), numbers):
        if len(set(names)) == len(names) and sorted(columns) == sorted(names):
            return np.stack([scores[:, columns.index(name)] for name in names], axis=1)
    return scores
