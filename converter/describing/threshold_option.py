"""`--threshold`: a number, or a file with thresholds by class."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bundle.errors import BundleError
from bundle.strict_yaml import parse_yaml
from bundle.thresholds import DEFAULT_THRESHOLD, Thresholds, read_threshold

from ..errors import ConversionError

_DEFAULT = "default"


def read_threshold_option(option: float | Path, labels: Sequence[str]) -> Thresholds:
    """The thresholds that the option gives.

    Args:
        option: a number; or a YAML or JSON file with a list, one threshold a class, or with a
            table of labels or class numbers. Classes that the table leaves out have its
            `default`, else 0.5.
        labels: the labels, in the order of the classes.

    Raises:
        ConversionError: a threshold is no number from 0 to 1, or the file cannot be read or names
            a class that the model does not have.
    """
    try:
        if isinstance(option, Path):
            return _of_file(option, labels)
        return Thresholds(read_threshold(option, f"--threshold {option}:"))
    except BundleError as error:
        raise ConversionError(str(error)) from error


def _of_file(path: Path, labels: Sequence[str]) -> Thresholds:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"--threshold {path}: neither a number nor a text file that can be read; give a number"
            " from 0 to 1, or a YAML file with thresholds by class"
        ) from error
    # every scalar as it is written: a label may be `no` or `007`
    document = parse_yaml(text, str(path), texts=True)
    if isinstance(document, list) and document:
        numbers = [_number(value, f"{path}: threshold {at}") for at, value in enumerate(document)]
        return Thresholds(None, dict(enumerate(numbers)))
    if not isinstance(document, dict) or not document:
        raise BundleError(
            f"{path}: must hold a list of thresholds, one a class, or lines `label: threshold`"
        )
    found = {key: _number(value, f"{path}: {key}") for key, value in document.items()}
    default = found.pop(_DEFAULT, DEFAULT_THRESHOLD)
    return Thresholds(
        default, {_class_of(key, labels, path): value for key, value in found.items()}
    )


def _class_of(key: Any, labels: Sequence[str], path: Path) -> int:  # noqa: ANN401 - YAML
    """The class of a label, or of a number where no label is called so."""
    if list(labels).count(key) == 1:
        return labels.index(key)
    if isinstance(key, str) and key.isascii() and key.isdigit() and key not in labels:
        return int(key[:9])
    raise BundleError(
        f"{path}: {key!r} is the label of no class, or of several; write labels as they are served,"
        " or class numbers, counted from 0"
    )


def _number(value: Any, where: str) -> float:  # noqa: ANN401 - YAML
    try:
        return read_threshold(float(value), where)
    except (TypeError, ValueError) as error:
        raise BundleError(f"{where} must be a number from 0 to 1, not {value!r}") from error
