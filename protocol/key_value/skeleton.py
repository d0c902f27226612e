"""A JSON body without its long strings: what is left is small, whatever the body's size is.

A parser of JSON reads each byte and holds the interpreter's lock meanwhile: 60 MB in one key, or in
a field that is skipped, stopped all other threads for 80 ms, with escapes for 170. Here long
strings are found by their quotes, at the speed of `bytes.find`, and a parser gets a short string in
the place of each.
"""

from __future__ import annotations

from collections.abc import Iterator

from ..codec import Hints, NotQuick
from ..errors import InvalidRequest

# Longer strings are taken out: in bytes of JSON. A file name has 255 bytes, 1,530 with escapes.
LONG = 2048
MOST_SKELETON = 2 * 2**20
QUOTES_A_PART = 4
# Of a body that is read within a millisecond.
QUICK_SKELETON = 16 * 1024
QUICK_QUOTES = 400
_RUN = 4096
_BACKSLASH = ord("\\")
_MARK = rb"\u0000:"  # with the number of the string behind it
_TEXT_MARK = "\0:"


class Skeleton:
    """`text` is the JSON with a mark in the place of each of the `strings`, without their quotes.

    A body may have such a mark itself: it stands for another string of the same body then.
    """

    def __init__(self, text: bytes, strings: list[memoryview]) -> None:
        self.text = text
        self.strings = strings

    def in_raw(self, raw: memoryview) -> memoryview | None:
        """Return the long string in whose place a string of JSON stands; None for another."""
        if raw[1 : 1 + len(_MARK)] != _MARK:
            return None
        return self._numbered(bytes(raw[1 + len(_MARK) : -1][:9]))

    def in_text(self, text: str) -> memoryview | None:
        """Return the same for a string that has been read."""
        if not text.startswith(_TEXT_MARK):
            return None
        return self._numbered(text[len(_TEXT_MARK) :][:9].encode(errors="replace"))

    def _numbered(self, digits: bytes) -> memoryview | None:
        number = int(digits) if digits.isdigit() else len(self.strings)
        return self.strings[number] if number < len(self.strings) else None


def skeleton_of(body: bytes, hints: Hints) -> Skeleton:
    """Take the long strings out of a body in UTF-8, which need not be JSON.

    Raises:
        InvalidRequest: there is too much besides them.
        ValueError: a string does not end.
        NotQuick: the rest is long, and the hints say that it must be quick.
    """
    quotes = _Quotes(body, hints)
    view = memoryview(body)
    strings: list[memoryview] = []
    rest: list[bytes | memoryview] = []
    position = 0
    for begin, end in quotes.pairs():
        if end - begin - 1 > LONG:
            rest += [view[position : begin + 1], b"%b%d" % (_MARK, len(strings))]
            strings.append(view[begin + 1 : end])
            position = end
    size = len(body) - sum(map(len, strings))
    if hints.quick and size > QUICK_SKELETON:
        raise NotQuick
    if size > MOST_SKELETON:
        raise InvalidRequest(
            f"the body has more than {MOST_SKELETON >> 20} MiB besides its long strings; "
            "send each image as one string of base64"
        )
    return Skeleton(b"".join([*rest, view[position:]]) if strings else body, strings)


class _Quotes:
    """Finds the quotes of a body, and counts them."""

    def __init__(self, body: bytes, hints: Hints) -> None:
        self._body = body
        self._quick = hints.quick
        self._most = QUICK_QUOTES if hints.quick else QUOTES_A_PART * hints.most_parts
        self._left = self._most

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Yield where each string's quotes are.

        Raises:
            InvalidRequest, ValueError, NotQuick: as `skeleton_of`.
        """
        end = -1
        while (begin := self._next(end + 1)) >= 0:
            end = self._next(begin + 1)
            while end >= 0 and self._is_escaped(begin, end):
                end = self._next(end + 1)
            if end < 0:
                raise ValueError("a string does not end")
            yield begin, end

    def _next(self, position: int) -> int:
        self._left -= 1
        if self._left < 0:
            if self._quick:
                raise NotQuick
            raise InvalidRequest(
                f"the body has more than {self._most} quotes; send an image as one string"
            )
        return self._body.find(b'"', position)

    def _is_escaped(self, begin: int, end: int) -> bool:
        """Return whether an odd number of backslashes is before the quote at `end`."""
        if self._body[end - 1] != _BACKSLASH:
            return False
        at = end
        while at > begin + 1:
            if self._quick and end - at > _RUN:
                raise NotQuick
            run = self._body[max(begin + 1, at - _RUN) : at]
            left = len(run.rstrip(b"\\"))
            at -= len(run) - left
            if left:
                break
        return (end - at) % 2 == 1
