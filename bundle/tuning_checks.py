"""What a value of tuning.yml must be."""

from __future__ import annotations

import math
import re
from typing import Callable, Optional, Sequence

Check = Callable[[object], Optional[str]]  # None: fine; else what it must be

MAX_TEXT = 1000
MAX_NAMES = 500
_NAME = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def name(value: object) -> Optional[str]:
    """Accept the name of a runtime, which is no path."""
    good = isinstance(value, str) and _NAME.fullmatch(value)
    return None if good else "a name of small letters, digits, - and _"


def names(value: object) -> Optional[str]:
    """Accept a list of short texts."""
    good = isinstance(value, list) and len(value) <= MAX_NAMES
    good = good and all(isinstance(entry, str) and 0 < len(entry) <= 40 for entry in value)  # type: ignore[attr-defined]
    return None if good else "a list of names"


def one_of(choices: Sequence[str]) -> Check:
    """Accept the listed texts."""

    def check(value: object) -> Optional[str]:
        return None if value in choices else "one of " + ", ".join(choices)

    return check


def whole(low: int, high: int = 2**31 - 1) -> Check:
    """Accept whole numbers from `low` to `high`."""

    def check(value: object) -> Optional[str]:
        good = isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
        return None if good else "a whole number from {} to {}".format(low, high)

    return check


def number(value: object) -> Optional[str]:
    """Accept numbers that are not negative."""
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    good = good and math.isfinite(value) and value >= 0  # type: ignore[arg-type, operator]
    return None if good else "a number of at least 0"


def flag(value: object) -> Optional[str]:
    """Accept true and false."""
    return None if isinstance(value, bool) else "true or false"


def text(value: object) -> Optional[str]:
    """Accept a text of one line or more."""
    good = isinstance(value, str) and len(value) <= MAX_TEXT
    return None if good else "a text of at most {} characters".format(MAX_TEXT)


def texts(value: object) -> Optional[str]:
    """Accept texts by name."""
    good = isinstance(value, dict) and len(value) <= MAX_NAMES
    good = good and all(
        isinstance(entry, str) and len(entry) <= MAX_TEXT
        for pair in value.items()  # type: ignore[attr-defined]
        for entry in pair
    )
    return None if good else "texts by name"


def sha256(value: object) -> Optional[str]:
    """Accept a SHA-256 in hexadecimal."""
    good = isinstance(value, str) and _SHA256.fullmatch(value)
    return None if good else "64 hexadecimal digits"


def date(value: object) -> Optional[str]:
    """Accept a date and time, as text."""
    good = isinstance(value, str) and _DATE.fullmatch(value)
    return None if good else 'a date such as "2026-12-01T08:00:00Z"'
