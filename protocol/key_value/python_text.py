"""A list of strings and numbers as Paddle Serving 0.9 writes it: `str()` of a Python list.

Ours, because `ast.literal_eval` builds a tree of the whole text before it looks at anything: 6 MB
took 2.9 GB. This reads from left to right, makes only the entries, and stops at the first that is
something else. Lists in JSON are read too: their strings and numbers are the same but for `null`.
"""

from __future__ import annotations

import math
import re
from typing import TypeAlias

from ..escaping import excerpt

Entry: TypeAlias = "str | int | float | None"

LONGEST_TEXT = 4 << 20  # characters
_GAP = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"[+-]?(?:\d{1,40}(?:\.\d{0,40})?|\.\d{1,40})(?:[eE][+-]?\d{1,4})?(?![\w.])")
_NOTHING = re.compile(r"(?:None|null)\b")
_PLAIN = {quote: re.compile(rf"[^{quote}\\\n]*") for quote in "'\""}
_ESCAPE = re.compile(
    r"\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|([nrtbfav0'\"\\/]))"
)
_MEANINGS = dict(zip("nrtbfav0'\"\\/", "\n\r\t\b\f\a\v\0'\"\\/", strict=True))
_CLOSING = {"[": "]", "(": ")"}


def read_list(text: str, most: int) -> list[Entry]:
    """Return the entries of a list in `text`; `None` and `null` are None.

    Raises:
        ValueError: it is no list of strings and finite numbers, has more than `most` entries, or
            is longer than `LONGEST_TEXT`.
    """
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"the list is over {LONGEST_TEXT} characters")
    position = _after_gap(text, 0)
    closing = _CLOSING.get(text[position : position + 1])
    if closing is None:
        raise _unexpected(text, position)
    entries: list[Entry] = []
    position = _after_gap(text, position + 1)
    while text[position : position + 1] != closing:
        if len(entries) == most:
            raise ValueError(f"the list has more than {most} entries")
        entry, position = _entry(text, position)
        entries.append(entry)
        position = _after_gap(text, position)
        if text[position : position + 1] == ",":
            position = _after_gap(text, position + 1)
        elif text[position : position + 1] != closing:
            raise _unexpected(text, position)
    if _after_gap(text, position + 1) != len(text):
        raise _unexpected(text, position + 1)
    return entries


def _entry(text: str, position: int) -> tuple[Entry, int]:
    """Return the entry that begins at `position`, and where it ends."""
    if text[position : position + 1] in ("'", '"'):
        return _string(text, position)
    if found := _NOTHING.match(text, position):
        return None, found.end()
    found = _NUMBER.match(text, position)
    if found is None:
        raise _unexpected(text, position)
    number = float(found[0])
    if not math.isfinite(number):
        raise ValueError(f"{excerpt(found[0])} is out of range")
    return (int(found[0]) if found[0].lstrip("+-").isdigit() else number), found.end()


def _string(text: str, position: int) -> tuple[str, int]:
    """Return the string whose quote is at `position`, and where it ends."""
    quote, start = text[position], position
    plain = _PLAIN[quote]
    pieces = []
    position += 1
    while True:
        found = plain.match(text, position)
        if found is not None:
            pieces.append(found[0])
            position = found.end()
        if text[position : position + 1] == quote:
            return _joined(pieces), position + 1
        escape = _ESCAPE.match(text, position)
        if escape is None:
            raise _unexpected(text, start)
        code = escape[1] or escape[2] or escape[3]
        pieces.append(chr(int(code, 16)) if code else _MEANINGS[escape[4]])
        position = escape.end()


def _joined(pieces: list[str]) -> str:
    """Return the string; JSON writes a character beyond 16 bits as a pair of halves."""
    string = "".join(pieces)
    if len(pieces) == 1:
        return string
    return string.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def _after_gap(text: str, position: int) -> int:
    found = _GAP.match(text, position)
    return position if found is None else found.end()


def _unexpected(text: str, position: int) -> ValueError:
    rest = text[position : position + 40]
    return ValueError(
        f"no list of strings or numbers, at {excerpt(rest, 20) if rest else 'its end'}"
    )
