"""A multipart body that is in memory already: its files, and its other fields.

Format: RFC 7578 over RFC 2046. The body is cut where its boundary stands, at the speed of
`bytes.find`: a parser that reads every byte in Python blocked the service for half a minute over
60 MB that were made for it.

Programs write uploads in many ways. A part is a file if it has a file name, in either of its forms
(`filename=`, `filename*=`), or a Content-Type that is none of text, or bytes that are no text. The
others are fields. If the Content-Type of the request does not name the boundary, the first line of
the body does. Line ends are those of the first line: CR LF, or LF alone from programs that write
their heads by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from .codec import NotQuick
from .errors import InvalidRequest
from .first_bytes import is_binary

MAX_PARTS = 1000
MAX_PART_HEAD_BYTES = 4096
# Of all parts together; a head of usual size has 100 to 200 bytes.
MAX_HEAD_BYTES = 512 * 1024
_HEAD_COST = 100  # a part takes as long as so many bytes of a head
_MOST_LINES = _MOST_PARAMETERS = 20
# Of an upload that is read within a millisecond: its size, and that of its heads.
QUICK_BYTES = 384 * 1024
_QUICK_HEAD_BYTES = 8 * 1024
_QUICK_PARTS = 50
_MOST_PADDING = 100
_PIECE = 256 * 1024
# `; name=value`, the value with quotes or without; read once from left to right.
_PARAMETER = re.compile(
    rb""";\s*(?P<name>[^\s;="]+)\s*=\s*(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<plain>[^;]*))""",
    re.DOTALL,
)
_FIRST_LINE = re.compile(
    rb"\A(?:\r?\n)?--(?P<boundary>[^\r\n]{0,199}[^\r\n \t])[ \t]*(?P<end>\r?\n)"
)
# Content types of fields that are no files: .NET and Java's HttpClient name one for every field.
_TEXT_TYPE = re.compile(rb"text/|application/(json|x-www-form-urlencoded)\b|[^;]*\+json\b")


class Part(NamedTuple):
    """One part: its name, "" where it has none, whether it is a file, and its content."""

    name: str
    is_file: bool
    content: bytes


class _Cut(NamedTuple):
    """Where to cut: before `delimiter`, a line end with the boundary; heads have `line_end`."""

    delimiter: bytes
    line_end: bytes


def read_multipart(body: bytes, content_type: str, *, quick: bool = False) -> list[Part]:
    """Return the parts in their order.

    Raises:
        InvalidRequest: it is no form, or was cut off, or has too much in its heads.
        NotQuick: with `quick`, where that takes more than a fraction of a millisecond.
    """
    if quick and len(body) > QUICK_BYTES:
        raise NotQuick
    cut = _cut(body, content_type)
    parts: list[Part] = []
    left = _QUICK_HEAD_BYTES if quick else MAX_HEAD_BYTES
    for begin, end in _parts(body, cut, quick=quick):
        head, content = _split(body, begin, end, cut.line_end)
        left -= len(head) + _HEAD_COST
        if left < 0:
            if quick:
                raise NotQuick
            raise _broken(f"its parts have more than {MAX_HEAD_BYTES // 1024} KiB of heads")
        parts.append(_part(head, content, cut.line_end))
    return parts


def is_multipart(body: bytes) -> bool:
    """Return whether the body begins as an upload does, whatever its Content-Type says."""
    first = _FIRST_LINE.match(body[:MAX_PART_HEAD_BYTES])
    return first is not None and body[first.end() : first.end() + 8].lower() == b"content-"


def _cut(body: bytes, content_type: str) -> _Cut:
    first = _FIRST_LINE.match(body[:MAX_PART_HEAD_BYTES])
    boundary = _parameters(content_type.encode("latin-1", errors="replace")).get(b"boundary")
    if not boundary:
        if not is_multipart(body) or first is None:
            raise _broken("its Content-Type must name its boundary")
        boundary = first["boundary"]
    lines = b"\r\n"
    if first is not None and first["boundary"] == boundary:
        lines = first["end"]
    return _Cut(lines + b"--" + boundary, lines)


def _split(body: bytes, begin: int, end: int, line_end: bytes) -> tuple[bytes, bytes]:
    """Return the head and the content of a part."""
    # From the line's end on, so that an empty head is found too.
    head_end = body.find(2 * line_end, begin - len(line_end), begin + MAX_PART_HEAD_BYTES)
    if not 0 <= head_end < end:
        raise _broken(f"the head of a part does not end within {MAX_PART_HEAD_BYTES} bytes")
    return body[begin:head_end], body[head_end + 2 * len(line_end) : end]


def _part(head: bytes, content: bytes, line_end: bytes) -> Part:
    headers = _headers(head, line_end)
    disposition = _parameters(headers.get(b"content-disposition", b""))
    kind = headers.get(b"content-type", b"").lower()
    encoding = headers.get(b"content-transfer-encoding", b"binary").lower()
    if encoding not in (b"binary", b"8bit", b"7bit"):
        raise _broken(
            f"a part has Content-Transfer-Encoding: {encoding[:40].decode(errors='replace')}; "
            "send its bytes as they are"
        )
    is_file = bool({b"filename", b"filename*"} & disposition.keys())
    is_file = is_file or bool(kind and not _TEXT_TYPE.match(kind)) or is_binary(content)
    if not is_file and b"name" not in disposition:
        raise _broken('a part has no name: Content-Disposition: form-data; name="image"')
    name = disposition.get(b"name", b"").decode("utf-8", errors="replace")
    return Part(name, is_file, content)


def _headers(head: bytes, line_end: bytes) -> dict[bytes, bytes]:
    """Return the headers of a part by their names in lower case."""
    lines = [line.partition(b":") for line in head.split(line_end, _MOST_LINES)]
    if len(lines) > _MOST_LINES:
        raise _broken(f"the head of a part has more than {_MOST_LINES} lines")
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def _parameters(value: bytes) -> dict[bytes, bytes]:
    """Return the parameters of a header's value by their names in lower case."""
    parameters: dict[bytes, bytes] = {}
    for count, found in enumerate(_PARAMETER.finditer(value)):
        if count == _MOST_PARAMETERS:
            raise _broken(f"a header has more than {_MOST_PARAMETERS} parameters")
        quoted = found["quoted"]
        parameters[found["name"].lower()] = (
            found["plain"].strip()
            if quoted is None
            else re.sub(rb"\\(.)", rb"\1", quoted, flags=re.DOTALL)
        )
    return parameters


def _parts(body: bytes, cut: _Cut, *, quick: bool) -> Iterator[tuple[int, int]]:
    """Yield where each part begins, behind its delimiter's line, and where it ends."""
    begin = None
    for count, position in enumerate(_delimiters(body, cut)):
        if quick and count > _QUICK_PARTS:
            raise NotQuick
        if count > MAX_PARTS:
            raise _broken(f"it has more than {MAX_PARTS} parts")
        after = position + len(cut.delimiter)
        is_last = body.startswith(b"--", after)
        after = _behind_blanks(body, after)
        # With anything else behind it, it is content that contains the delimiter's text.
        if is_last or body.startswith(cut.line_end, after):
            if begin is not None:
                yield begin, position
            if is_last:
                return
            begin = after + len(cut.line_end)
    raise _broken("it does not end with its boundary; it was not uploaded whole")


def _behind_blanks(body: bytes, at: int) -> int:
    """Return where the blanks at `at` end: gateways may pad the line of a boundary with some."""
    piece = body[at : at + _MOST_PADDING]
    return at + len(piece) - len(piece.lstrip(b" \t"))


def _delimiters(body: bytes, cut: _Cut) -> Iterator[int]:
    """Yield where each delimiter begins; the first may do without the line end before it."""
    if body.startswith(cut.delimiter[len(cut.line_end) :]):
        yield -len(cut.line_end)
    position = _find(body, cut.delimiter, 0)
    while position >= 0:
        yield position
        position = _find(body, cut.delimiter, position + len(cut.delimiter))


def _find(body: bytes, delimiter: bytes, begin: int) -> int:
    """Return what `bytes.find` does, in pieces: other threads do not run during a call."""
    for at in range(begin, len(body), _PIECE):
        position = body.find(delimiter, at, at + _PIECE + len(delimiter) - 1)
        if position >= 0:
            return position
    return -1


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"the multipart form cannot be read: {why}")
