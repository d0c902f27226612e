"""What a value of config.yml must be. Kept clean for Python 3.8, as the table of keys is."""

from __future__ import annotations

import re
from typing import Callable, Optional

Check = Callable[[object], Optional[str]]  # None: fine; else what it must be

_CLASS = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*")
_NOT_IN_A_PATH = re.compile(r"[/\\?#%\x00-\x1f\x7f]|^\s|\s$|[^\S ]")
# Lower case, no path, no slash at the end: anything but what a browser sends would match nothing.
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://[^A-Z\s/?#@*,]+")


def whole(low: int, high: int = 2**31 - 1, *, also: tuple[object, ...] = ()) -> Check:
    """Accept whole numbers from `low` to `high`, and the values in `also`."""
    wanted = f"a whole number from {low} to {high}" if high < 2**31 - 1 else f"at least {low}"
    more = "".join(f" or {'empty' if value is None else value}" for value in also)

    def check(value: object) -> str | None:
        if isinstance(value, bool):
            return wanted + more
        good = value in also or (isinstance(value, int) and low <= value <= high)
        return None if good else wanted + more

    return check


def number(low: float, high: float, *, or_empty: bool = False) -> Check:
    """Accept numbers from `low` to `high`."""

    def check(value: object) -> str | None:
        if value is None and or_empty:
            return None
        if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            return None
        return f"a number from {low:g} to {high:g}"

    return check


def one_of(*choices: object) -> Check:
    """Accept the listed values."""
    wanted = "one of " + ", ".join("empty" if c in (None, "") else str(c) for c in choices)

    def check(value: object) -> str | None:
        return None if value in choices else wanted

    return check


def flag(value: object) -> str | None:
    """Accept true and false."""
    return None if isinstance(value, bool) else "True or False"


def flag_or_empty(value: object) -> str | None:
    """Accept true, false and nothing."""
    return None if value is None or isinstance(value, bool) else "True, False or empty"


def text(value: object) -> str | None:
    """Accept a text that is not empty."""
    return None if isinstance(value, str) and value.strip() else "a text"


def text_or_empty(value: object) -> str | None:
    """Accept a text or nothing."""
    return None if value is None or isinstance(value, str) else "a text or empty"


def devices(value: object) -> str | None:
    """Accept "" or GPU numbers with commas between, as 0.9 does: "0", "0,1", or a single number."""
    if value is None or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return None
    good = isinstance(value, str) and all(p.strip().isdigit() for p in value.split(",") if p)
    return None if good else 'GPU numbers such as "0" or "0,1", or "" for the CPU'


def names(value: object) -> str | None:
    """Accept a list of texts, or nothing."""
    good = value is None or (isinstance(value, list) and all(isinstance(v, str) for v in value))
    return None if good else "a list of names"


def origins(value: object) -> str | None:
    """Accept a list of origins as a browser sends them, "*", or nothing."""
    good = value is None or (
        isinstance(value, list)
        and all(isinstance(v, str) and (v == "*" or _ORIGIN.fullmatch(v)) for v in value)
    )
    if good:
        return None
    return 'a list of origins as a browser sends them, ["https://shop.example"], or ["*"] for all'


def anything(_value: object) -> str | None:
    """Accept any value (of a key that has no effect)."""
    return None


def class_name(value: object) -> Optional[str]:
    """Accept the name of a class with its module, as Python imports it."""
    good = isinstance(value, str) and _CLASS.fullmatch(value)
    return None if good else "module:Class, for example my_package.my_module:MyOp"


def service_name(value: object) -> Optional[str]:
    """Accept what a service can be called by in `/<service>/prediction`, and a whole number."""
    if isinstance(value, int) and not isinstance(value, bool):
        return None
    if not isinstance(value, str):
        return "a text, since YAML reads this word as another value; put it in quotes"
    if value and value not in (".", "..") and not _NOT_IN_A_PATH.search(value):
        return None
    return (
        "a name that may stand in /<service>/prediction, without / \\ ? # % and line breaks, and "
        "without a blank at an end"
    )
