"""Makes text from outside safe for a terminal, a log line and a message."""

from __future__ import annotations

import re
from typing import Match, Union

# Control characters except tab and newline, marks that change the direction of text, line
# separators other than newline, and halves of surrogate pairs, which no stream can encode. In a
# JSON string the escape is JSON's own.
_MARKS = r"\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff"
_UNSAFE = re.compile(rf"[\x00-\x08\x0b-\x1f{_MARKS}]")
_UNSAFE_IN_LINE = re.compile(rf"[\x00-\x1f{_MARKS}]")
LONGEST_EXCERPT = 80  # characters


def escaped(text: str) -> str:
    """Return `text` with unsafe characters escaped as in JSON; tabs and newlines are kept."""
    return _UNSAFE.sub(_escape, text)


def escaped_line(text: str) -> str:
    """Return `text` as one line: also tabs and newlines are escaped."""
    return _UNSAFE_IN_LINE.sub(_escape, text)


def excerpt(sent: Union[str, bytes], longest: int = LONGEST_EXCERPT) -> str:
    """Return what a message shows of text or bytes that a peer sent: quoted, escaped, in one line.

    Between the quotes are at most `longest` characters, and `...` behind them where something is
    left out. The cost depends on `longest`, not on the size of what was sent.
    """
    start = sent[: 4 * longest]
    text = start if isinstance(start, str) else start.decode("utf-8", errors="replace")
    cut = escaped_line(text[: longest + 1])
    return "'{}'".format(cut if len(cut) <= longest else cut[:longest] + "...")


def _escape(found: Match[str]) -> str:
    return "\\u{:04x}".format(ord(found[0]))
