"""Label files: what each class of a model is called, one a line in the order of the classes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Tuple

from .errors import BundleError

# The ImageNet list's form: "n01440764 tench, Tinca tinca".
_SYNSET = re.compile(r"n\d{8}\s+(\S.*)")


def read_labels(path: Path) -> Tuple[str, ...]:
    """Return the labels of a UTF-8 file (with or without BOM), one a line, commas and all.

    Where every line starts with a WordNet id ("n01440764 tench, Tinca tinca"), it is left out.
    Blank lines at the end are left out; one between labels would shift every class behind it and
    is an error.

    Raises:
        BundleError: the file cannot be read, is not UTF-8, is empty, or holds a blank line.
    """
    try:
        content = path.read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise BundleError(
            "cannot read the label file {}: {}".format(path, error.strerror)
        ) from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise BundleError(
            "the label file {} is not UTF-8 (line {}); save it as UTF-8".format(path, line)
        ) from error
    # not splitlines(): it also splits at characters that may stand inside a label
    labels = [line.strip() for line in text.rstrip().split("\n")]
    if labels == [""]:
        raise BundleError("the label file {} is empty; write one label a line".format(path))
    for number, label in enumerate(labels, 1):
        if not label:
            raise BundleError("{} line {} is blank; take it out".format(path, number))
    synsets = [_SYNSET.fullmatch(label) for label in labels]
    if all(synsets):
        return tuple(match.group(1) for match in synsets if match)
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
