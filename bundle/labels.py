"""Label files: what each class of a model is called, one a line in the order of the classes."""

from __future__ import annotations

from pathlib import Path
from typing import Tuple

from .errors import BundleError


def read_labels(path: Path) -> Tuple[str, ...]:
    """Return the labels of a UTF-8 file (with or without BOM), one a line, commas and all.

    Blank lines at the end are left out; one between labels would shift every class behind it and
    is an error.

    Raises:
        BundleError: the file cannot be read, is not UTF-8, is empty, or holds a blank line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise BundleError(
            "cannot read the label file {}: {}".format(path, error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        raise BundleError(
            "the label file {} is not UTF-8 (byte {}); save it as UTF-8".format(path, error.start)
        ) from error
    labels = [line.strip() for line in text.rstrip().splitlines()]
    if not labels:
        raise BundleError("the label file {} is empty; write one label a line".format(path))
    for number, label in enumerate(labels, 1):
        if not label:
            raise BundleError("{} line {} is blank; take it out".format(path, number))
    return tuple(labels)


def check_count(labels: Tuple[str, ...], classes: int, source: str) -> None:
    """Compare the number of labels with the model's classes (-1: not known before it runs).

    Raises:
        BundleError: there are too few or too many; the text says how many of each.
    """
    if classes > 0 and len(labels) != classes:
        few = "too few" if len(labels) < classes else "too many"
        raise BundleError(
            "{} has {} labels, {} for the model's {} classes; write exactly one label a "
            "class, in the order of training".format(source, len(labels), few, classes)
        )
