"""Text that came from outside, made safe for a terminal and a log line."""

from __future__ import annotations

import re

# Controls but tab and newline, marks that turn the direction of text, separators of lines that are
# no newline, and halves of surrogate pairs, which no stream can encode. In the JSON form the escape
# is JSON's own, as these stand in its strings alone.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """Return `text` with what is more than text by its number, as in JSON; newlines are kept."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
