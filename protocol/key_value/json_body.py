"""A large JSON body, read with its long strings left where they are.

`json.loads` reads a string in one call, during which no other thread runs: half a second for a
picture of 46 MB. Here each long string is replaced by a mark before the rest is read, and its text
is handed out piece by piece. So it is with the values of a message, see `proto_body`.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from typing import Any

from .base64_text import PIECE
from .sizes import MOST_PARTS, check_json_size

# Shorter strings are read with the rest.
LONG = 16 * 1024  # bytes
# A body with more of them is read as it is: it would take longer here than in one call, and no
# request for pictures has so many.
_MOST_QUOTES = 4 * MOST_PARTS
_MOST_BACKSLASHES = 100  # in a row
_LONGEST_ESCAPE = len(rb"\u0041")


class LongString:
    """The text of one string of a body, still as it came."""

    def __init__(self, body: bytes, begin: int, end: int, *, escaped: bool = True) -> None:
        """Take the bytes from `begin` to `end`: UTF-8, in JSON's escapes or without any."""
        self._body = body
        self._escaped = escaped
        self._begin = begin
        self._end = end

    def start(self) -> str:
        """Return how it begins, for messages; as a number it is as wrong as the whole."""
        return self._body[self._begin : self._begin + 100].decode(errors="replace") + "..."

    def pieces(self) -> Iterator[str]:
        """Yield the text in pieces; of a data URL what is behind its head.

        Raises:
            ValueError: it is not JSON, or not UTF-8.
        """
        begin = self._begin
        if self._body.startswith(b"data:", begin):
            begin = self._body.find(b",", begin, self._end) + 1 or self._end
        while begin < self._end:
            end = min(begin + PIECE, self._end)
            if end < self._end:
                # Never within an escape. Where two backslashes are cut apart, it was no base64.
                escape = self._body.rfind(b"\\", end - _LONGEST_ESCAPE + 1, end)
                end = escape if escape > begin else end
                while self._body[end] & 0xC0 == 0x80 and end > begin + 1:
                    end -= 1  # nor within a character
            piece = self._body[begin:end]
            yield json.loads(b'"' + piece + b'"') if self._escaped else piece.decode()
            begin = end


def load_json(body: bytes) -> tuple[Any, dict[str, LongString]]:
    """Return what `json.loads` does, but a mark for each long string, and the strings by mark.

    Raises:
        InvalidRequest: it has more values than a request for pictures has.
        ValueError: it is not JSON.
        RecursionError: it is nested too deeply.
    """
    long = _long_strings(body) if len(body) > LONG else []
    if not long:
        check_json_size(body)
        return json.loads(body), {}
    # Nobody who sends a body can know it.
    secret = secrets.token_hex(16)
    marks = {f"{secret}{number}": string for number, string in enumerate(long)}
    rest, position = [], 0
    for mark, (begin, end) in marks.items():
        rest += [body[position:begin], mark.encode()]
        position = end
    rest.append(body[position:])
    short = b"".join(rest)
    check_json_size(short)
    return json.loads(short), {
        mark: LongString(body, begin, end) for mark, (begin, end) in marks.items()
    }


def _long_strings(body: bytes) -> list[tuple[int, int]]:
    """Return where the text of each long string begins and ends; none where that is not clear."""
    if json.detect_encoding(body) != "utf-8":
        return []
    long: list[tuple[int, int]] = []
    begin, quote = 0, -1  # no string begins at 0: its quote comes before it
    for _ in range(_MOST_QUOTES):
        quote = body.find(b'"', quote + 1)
        if quote < 0:
            return long if not begin else []
        if not begin:
            begin = quote + 1
            continue
        before = body[max(begin, quote - _MOST_BACKSLASHES) : quote]
        backslashes = len(before) - len(before.rstrip(b"\\"))
        if backslashes == _MOST_BACKSLASHES:
            return []
        if backslashes % 2 == 0:
            if quote - begin > LONG:
                long.append((begin, quote))
            begin = 0
    return []
