"""Labels in YAML and JSON documents: a list, or a table of class numbers and names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Hashable, List, Mapping, Optional, Tuple

from .errors import BundleError
from .strict_json import parse_json
from .strict_yaml import NotText, parse_yaml

_HALF_PAIR = re.compile("[\ud800-\udfff]")
CLASS_ID = re.compile(r"[0-9]{1,9}")


def labels_of_yaml(text: str, path: Path) -> Tuple[str, ...]:
    """Return the labels of a YAML document.

    Raises:
        BundleError: it is not YAML, or holds something else than labels.
    """
    return _from_document(parse_yaml(text, str(path), all_labels=True), path)


def labels_of_json(text: str, path: Path) -> Tuple[str, ...]:
    """Return the labels of a JSON document.

    Raises:
        BundleError: it is not JSON, or holds something else than labels.
    """
    document = parse_json(text, "the label file {}".format(path), odd_integers_as_floats=True)
    return _from_document(document, path)


def label_text(label: object, class_id: int, source: str) -> str:
    """Return the text of a label of a YAML or JSON document.

    Text is taken, and an integer that is written as its digits, for nothing of it is lost. Other
    values without quotes are not: `yes`, `1.0` and `0777` would become True, 1.0 and 511.

    Args:
        label: what the document holds; `bundle.strict_yaml` keeps what is lost as a `NotText`.
        class_id: the class that it is the label of, for the error.
        source: the file and the place in it, for the error.

    Raises:
        BundleError: it is something else, or no text that can be encoded; the text has the line,
            where it is known.
    """
    if isinstance(label, str):
        if _HALF_PAIR.search(label):  # no reply could be encoded
            raise BundleError(
                "{}: the label of class {} has an escape (\\ud800 to \\udfff) that is no "
                "character; write the character itself".format(source, class_id)
            )
        return label
    if isinstance(label, int) and not isinstance(label, bool):
        return str(label)
    if not isinstance(label, NotText):
        raise BundleError(
            "{}: the label of class {} is {!r}, not text; put it in quotes".format(
                source, class_id, label
            )
        )
    if not label.written:
        raise BundleError(
            "{} line {}: the label of class {} is empty; write its name".format(
                source, label.line, class_id
            )
        )
    raise BundleError(
        "{} line {}: the label of class {} is {}, which YAML reads as {}; put it in quotes: "
        "'{}'".format(
            source,
            label.line,
            class_id,
            label.written,
            label.kind,
            label.written.replace("'", "''"),
        )
    )


def _from_document(document: object, path: Path) -> Tuple[str, ...]:
    if isinstance(document, list) and document:
        return tuple(_name(label, at, path) for at, label in enumerate(document))
    if isinstance(document, dict) and document:
        by_number = {key: _class_id(key) for key in document}
        by_name = {key: _class_id(value) for key, value in document.items()}
        numbered, named = (None not in ids.values() for ids in (by_number, by_name))
        if numbered and not (named and _are_classes(document, by_number, by_name, path)):
            return in_order(
                [(at or 0, _name(document[key], at or 0, path)) for key, at in by_number.items()],
                path,
            )
        if named:
            return in_order(
                [(at or 0, _name(key, at or 0, path)) for key, at in by_name.items()], path
            )
    raise BundleError(
        '{} must hold a list of labels, or {{"0": "name", ...}}'.format(path)
        if document
        else "the label file {} is empty; write one label a class".format(path)
    )


def _are_classes(
    document: Mapping[Any, object],
    by_number: Mapping[Any, Optional[int]],
    by_name: Mapping[Any, Optional[int]],
    path: Path,
) -> bool:
    """Whether in `{"10": 0, "20": 1}` the values are the classes, and the keys their labels.

    Raises:
        BundleError: in `{"1": 0, "0": 1}` either may be.
    """
    count = list(range(len(document)))
    quoted = all(isinstance(value, str) for value in document.values())
    if quoted or by_number == by_name or sorted(at or 0 for at in by_name.values()) != count:
        return False
    if sorted(at or 0 for at in by_number.values()) == count:
        raise BundleError(
            "{}: holds numbers for numbers, and which of them are the labels is not clear; write a "
            "list of labels in the order of the classes".format(path)
        )
    return True


def _class_id(value: Hashable) -> Optional[int]:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return None
    return int(value) if CLASS_ID.fullmatch(str(value)) else None


def _name(label: object, class_id: int, path: Path) -> str:
    name = label_text(label, class_id, str(path)).strip()
    if not name:
        raise BundleError(
            "{}: the label of class {} is empty; write its name".format(path, class_id)
        )
    return name


def in_order(pairs: List[Tuple[int, str]], path: Path) -> Tuple[str, ...]:
    """Return the labels by their class numbers, which must be 0, 1, 2 ... without a gap."""
    numbers = sorted(number for number, _ in pairs)
    for wanted, number in enumerate(numbers):
        if number < wanted:
            raise BundleError("{}: the class number {} is given twice".format(path, number))
        if number > wanted:
            first = "; count from 0" if wanted == 0 else ""
            raise BundleError("{}: the class number {} is missing{}".format(path, wanted, first))
    return tuple(name for _, name in sorted(pairs))
