"""Values of a JSON document, each read with an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bundle.label_documents import label_text

from ..errors import ConversionError

# of float32, in which models compute
LARGEST = 3.4e38


class Values:
    """The keys of a mapping of a file; an absent key and null are the default.

    Every method raises ConversionError with the file, the key, and what it takes.
    """

    def __init__(self, document: Mapping[str, Any], where: str) -> None:
        self.document = document
        self.where = where

    def error(self, key: str, takes: str) -> ConversionError:
        """The error of a value that is not what it must be."""
        return ConversionError(
            f"{self.where}: {key} is {takes}, not {self.document.get(key)!r}; correct it, or give"
            " --preprocess"
        )

    def get(self, key: str, default: Any = None) -> Any:  # noqa: ANN401 - JSON
        """The value as it is."""
        value = self.document.get(key)
        return default if value is None else value

    def number(self, key: str, default: float) -> float:
        """A finite number above 0."""
        value = self.get(key, default)
        if not _is_number(value) or value <= 0:
            raise self.error(key, "a number above 0")
        return float(value)

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.get(key, default)
        if not isinstance(value, bool):
            raise self.error(key, "true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """A text."""
        value = self.get(key, default)
        if not isinstance(value, str):
            raise self.error(key, "a text")
        return value

    def channels(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """Three numbers, or one for all channels."""
        value = self.get(key, default)
        values = list(value) if isinstance(value, (list, tuple)) else [value]
        if len(values) == 1:
            values *= 3
        if len(values) != 3 or not all(_is_number(number) for number in values):
            raise self.error(key, "three numbers, or one for all channels")
        return tuple(float(number) for number in values)

    def deviations(self, key: str, default: tuple[float, ...]) -> tuple[float, ...]:
        """The same, none of them 0."""
        values = self.channels(key, default)
        if 0 in values:
            raise self.error(key, "three numbers that are not 0")
        return values


def is_side(value: object) -> bool:
    """Whether it is a number of pixels."""
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_number(value: object) -> bool:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return number and abs(value) <= LARGEST  # type: ignore[arg-type] # it is one


def labels_by_number(value: object, where: str) -> tuple[str, ...]:
    """Labels of `{0: name}` or `{"0": name}`, or of a list.

    Raises:
        ConversionError: numbers from 0 have a gap.
        BundleError: a label is no text.
    """
    if isinstance(value, list):
        value = dict(enumerate(value))
    numbers = {str(key): label for key, label in value.items()} if isinstance(value, dict) else {}
    ordered = [str(number) for number in range(len(numbers))]
    if not numbers or set(ordered) != set(numbers):
        raise ConversionError(
            f"{where} names the classes by their numbers, from 0 without a gap; correct it, or give"
            " --labels"
        )
    return tuple(label_text(numbers[key], int(key), where) for key in ordered)
