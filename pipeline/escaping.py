"""Makes text from outside safe for a terminal and a log line."""

from __future__ import annotations

import re

# Control characters except tab and newline, marks that change the direction of text, line
# separators other than newline, and halves of surrogate pairs, which no stream can encode. In a
# JSON string the escape is JSON's own.
_UNSAFE = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)


def escaped(text: str) -> str:
    """Return `text` with unsafe characters escaped as in JSON; newlines are kept."""
    return _UNSAFE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)
