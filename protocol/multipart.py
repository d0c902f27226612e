"""multipart/form-data out of a body that is in memory already: its files, and its other fields.

Format: RFC 7578 over RFC 2046. The body is cut where its boundary stands, at the speed of
`bytes.find`: a parser that reads every byte in Python blocked the service for half a minute over
60 MB that were made for it.
"""

from __future__ import annotations

from collections.abc import Iterator

from python_multipart.multipart import parse_options_header

from .errors import InvalidRequest

MAX_PARTS = 1000
MAX_PART_HEAD_BYTES = 4096
_PIECE = 256 * 1024
_LINE_END, _HEAD_END = b"\r\n", b"\r\n\r\n"


def read_multipart(body: bytes, content_type: str) -> tuple[list[bytes], dict[str, str]]:
    """Return the files in their order, and the fields; of a field given twice the last.

    Raises:
        InvalidRequest: it is no form, or was cut off.
    """
    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise _broken("its Content-Type must name its boundary")
    files: list[bytes] = []
    fields: dict[str, str] = {}
    for begin, end in _parts(body, _LINE_END + b"--" + boundary):
        # From the line's end on, so that an empty head is found too.
        head_end = body.find(_HEAD_END, begin - len(_LINE_END), begin + MAX_PART_HEAD_BYTES)
        if not 0 <= head_end < end:
            raise _broken(f"the head of a part does not end within {MAX_PART_HEAD_BYTES} bytes")
        disposition = _disposition(body[begin:head_end])
        content = body[head_end + len(_HEAD_END) : end]
        if b"filename" in disposition:
            files.append(content)
        else:
            name = disposition[b"name"].decode("utf-8", errors="replace")
            fields[name] = content.decode("utf-8", errors="replace")
    return files, fields


def _parts(body: bytes, delimiter: bytes) -> Iterator[tuple[int, int]]:
    """Yield where each part begins, behind its delimiter's line, and where it ends."""
    begin = None
    for count, position in enumerate(_delimiters(body, delimiter)):
        if count > MAX_PARTS:
            raise _broken(f"it has more than {MAX_PARTS} parts")
        after = position + len(delimiter)
        behind = body[after : after + 2]
        # With anything else behind it, it is content that contains the delimiter's text.
        if behind in (_LINE_END, b"--"):
            if begin is not None:
                yield begin, position
            if behind == b"--":
                return
            begin = after + len(_LINE_END)
    raise _broken("it does not end with its boundary; it was not uploaded whole")


def _delimiters(body: bytes, delimiter: bytes) -> Iterator[int]:
    """Yield where each delimiter begins; the first may do without the line end before it."""
    if body.startswith(delimiter[len(_LINE_END) :]):
        yield -len(_LINE_END)
    position = _find(body, delimiter, 0)
    while position >= 0:
        yield position
        position = _find(body, delimiter, position + len(delimiter))


def _find(body: bytes, delimiter: bytes, begin: int) -> int:
    """Return what `bytes.find` does, in pieces: other threads do not run during a call."""
    for at in range(begin, len(body), _PIECE):
        position = body.find(delimiter, at, at + _PIECE + len(delimiter) - 1)
        if position >= 0:
            return position
    return -1


def _disposition(head: bytes) -> dict[bytes, bytes]:
    """Return the options of the part's Content-Disposition."""
    for line in head.split(_LINE_END):
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-disposition":
            _, options = parse_options_header(value)
            if b"name" in options:
                return options
    raise _broken('a part has no name: Content-Disposition: form-data; name="image"')


def _broken(why: str) -> InvalidRequest:
    return InvalidRequest(f"the multipart form cannot be read: {why}")
