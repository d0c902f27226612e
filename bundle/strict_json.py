"""JSON of files that are not the operator's: bounded, and a key given twice is an error.

Python makes up to 30 bytes of objects of each byte of JSON, and an object of each value: the values
are counted before any is made.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Tuple

from .errors import BundleError
from .yaml_bounds import MAX_DEPTH, MAX_NUMBER, MAX_VALUES, too_deep, too_much

# Texts without their escapes, which may hold anything; nothing of it is ever tried twice.
_TEXT = re.compile(r'"[^"]*"?')
_BRACKET = re.compile(r"[\[{\]}]")


def parse_json(text: str, source: str, *, odd_integers_as_floats: bool = False) -> object:
    """Return what `text` holds.

    Args:
        text: the document.
        source: its name in errors.
        odd_integers_as_floats: an integer that is not written as Python writes it, which is -0, is
            a float, so that it cannot be taken for a label.

    Raises:
        BundleError: not JSON, beyond the bounds of `yaml_bounds`, or a key is given twice.
    """

    def unique(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
        document: Dict[str, Any] = {}
        for key, value in pairs:
            if key in document:
                raise BundleError("{}: the key {!r} is given twice".format(source, key))
            document[key] = value
        return document

    def integer(digits: str) -> object:
        if len(digits) > MAX_NUMBER:
            raise BundleError(
                "{}: has a number of {} characters; write it shorter, or in quotes if it is "
                "text".format(source, len(digits))
            )
        if odd_integers_as_floats and str(int(digits)) != digits:
            return float(digits)
        return int(digits)

    _check_bounds(text, source)
    try:
        document: object = json.loads(text, object_pairs_hook=unique, parse_int=integer)
    except (ValueError, RecursionError) as error:
        raise BundleError("{} cannot be read as JSON: {}".format(source, error)) from error
    return document


def _check_bounds(text: str, source: str) -> None:
    """Count values and depth by what stands between the texts."""
    rest = _TEXT.sub("", text.replace("\\\\", "").replace('\\"', ""))
    if sum(map(rest.count, ",:[{")) > MAX_VALUES:
        raise too_much(source, "more than {} values".format(MAX_VALUES))
    depth = 0
    for bracket in _BRACKET.finditer(rest):
        depth += 1 if bracket.group() in "[{" else -1
        if depth > MAX_DEPTH:
            raise too_deep(source)
