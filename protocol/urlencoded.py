"""A body of application/x-www-form-urlencoded that is in memory already: its fields, not decoded.

    image=%2F9j%2F4AAQ...&topk=3

Programs that build such a body by hand (`curl -d "image=$(base64 -w0 a.jpg)"`) do not encode `+`. A
value without a single escape keeps its `+`; in one with escapes they are blanks, as the format
says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import unquote_plus

from .errors import InvalidRequest

MAX_FIELDS = 1000
_LONGEST_TEXT = 200
_BEGINNING = re.compile(rb"\s*[\w.%+-]{1,100}=")


class Field(NamedTuple):
    """One field: its name, and its value as it stands in the body."""

    name: str
    value: memoryview

    def text(self) -> str:
        """Return the value decoded, its first characters at most: for options."""
        return unquote_plus(str(self.value[:_LONGEST_TEXT], "latin-1"))


def begins_a_form(body: bytes) -> bool:
    """Return whether the body begins with a name and `=`."""
    return _BEGINNING.match(body[:200]) is not None


def read_form(body: bytes) -> Iterator[Field]:
    """Yield the fields in their order.

    Raises:
        InvalidRequest: there are more than `MAX_FIELDS`.
    """
    view = memoryview(body)
    begin = 0
    for _ in range(MAX_FIELDS):
        end = body.find(b"&", begin)
        end = len(body) if end < 0 else end
        sign = body.find(b"=", begin, end)
        sign = end if sign < 0 else sign
        if end > begin:
            name = body[begin : min(sign, begin + _LONGEST_TEXT)]
            yield Field(unquote_plus(name.decode("latin-1")), view[sign + 1 : end])
        begin = end + 1
        if begin >= len(body):
            return
    raise InvalidRequest(f"the form has more than {MAX_FIELDS} fields")
