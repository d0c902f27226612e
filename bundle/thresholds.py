"""Thresholds of a model of several labels an image: one for all classes, or one for each."""

from __future__ import annotations

from typing import Any, Dict, Mapping, NamedTuple, Optional, Tuple

from .errors import BundleError

DEFAULT_THRESHOLD = 0.5  # PaddleClas' own


class Thresholds(NamedTuple):
    """A class has its own threshold, else `default`; without a default each class has its own."""

    default: Optional[float] = DEFAULT_THRESHOLD
    by_class: Mapping[int, float] = {}

    def of_classes(self, classes: int) -> Tuple[float, ...]:
        """The threshold of each class, in the order of the classes.

        Raises:
            KeyError: a class has none; `check` says so in a sentence.
        """
        return tuple(
            self.by_class[number]
            if self.default is None
            else self.by_class.get(number, self.default)
            for number in range(classes)
        )

    def check(self, classes: int, source: str) -> None:
        """Compare the thresholds with the number of classes; `source` names them in the error.

        Raises:
            BundleError: one is of no class, or a class has none.
        """
        beyond = [number for number in self.by_class if number >= classes]
        if self.default is None and len(self.by_class) != classes:
            raise BundleError(
                "{} lists {} thresholds for {} classes; write one a class, in their order".format(
                    source, len(self.by_class), classes
                )
            )
        if beyond:
            raise BundleError(
                "{} has a threshold of class {}, and the classes are 0 to {}".format(
                    source, beyond[0], classes - 1
                )
            )

    def written(self) -> Any:  # noqa: ANN401 - YAML
        """The form that `read_thresholds` reads."""
        if self.default is None:
            return [self.by_class[number] for number in sorted(self.by_class)]
        if not self.by_class:
            return self.default
        return {"default": self.default, **self.by_class}

    def __str__(self) -> str:
        numbers = [*self.by_class.values(), *([] if self.default is None else [self.default])]
        low, high = min(numbers), max(numbers)
        return "{:g}".format(low) if low == high else "{:g} to {:g}, by class".format(low, high)


def read_thresholds(given: object, where: str) -> Thresholds:
    """Read a number, a list with one for each class, or PaddleX' `{default: 0.5, 3: 0.7}`.

    Raises:
        BundleError: it is of another form, or a threshold is no number from 0 to 1.
    """
    if isinstance(given, list) and given:
        numbers = [read_threshold(value, where) for value in given]
        return Thresholds(None, dict(enumerate(numbers)))
    if not isinstance(given, dict):
        return Thresholds(read_threshold(given, where))
    if "default" not in given:
        raise BundleError(
            "{} has thresholds by class and none for the others; write default: {} beside "
            "them".format(where, DEFAULT_THRESHOLD)
        )
    by_class: Dict[int, float] = {}
    for key, value in given.items():
        if key == "default":
            continue
        number = str(key) if isinstance(key, (int, str)) and not isinstance(key, bool) else ""
        if not (number.isascii() and number.isdigit()) or int(number[:9]) in by_class:
            raise BundleError(
                "{}: {!r} is no class number, counted from 0, or is given twice".format(where, key)
            )
        by_class[int(number[:9])] = read_threshold(value, where)
    return Thresholds(read_threshold(given["default"], where), by_class)


def read_threshold(given: object, where: str) -> float:
    """Read one threshold.

    Raises:
        BundleError: it is no number from 0 to 1.
    """
    number = isinstance(given, (int, float)) and not isinstance(given, bool)
    if not number or not 0 <= float(given) <= 1:  # type: ignore[arg-type]
        raise BundleError("{} must be a number from 0 to 1".format(where))
    return float(given)  # type: ignore[arg-type]
