"""Base64 as programs really send it, brought into the form that a decoder takes; or what it is.

Taken, since nothing else can be meant: the URL-safe alphabet, `b'...'` and quotes around it, line
breaks and blanks between groups, `%2B` for `+`, the head of a data URL in any case. Named: a path,
a URL, Python's repr of raw bytes, and base64 whose `+` became blanks in a form: without them it
would decode to other bytes.

All of it changes one copy of the text in place, since a copy for each step would take six times the
memory of the body.

Kept clean for Python 3.8: the official engine's ops read the same values.
"""

from __future__ import annotations

import binascii
import re
from typing import Callable, List

_PIECE = 256 * 1024  # bytes; no other thread runs during one call
_LONGEST_HEAD = 1024
_RUN = 4096
_BREAKS, _BLANK = b"\t\n\r\v\f", b" "
_DATA_URL = re.compile(rb"data:[^,]{0,1000},", re.IGNORECASE)
_WRAPPED = re.compile(rb"b?(?P<quote>['\"])")
_COMPARED_BYTES = 64 * 1024
# Escapes are removed as those of quoted-printable, which has = for %; these would mean more there.
_NO_ESCAPES = (b"%%", b"%25", b"%\r", b"%\n")
_TO_QUOTED_PRINTABLE = bytes.maketrans(b"%=", b"=%")
# Shorter texts with blanks are words.
_LEAST_LOST = 64
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_FOREIGN = (
    (
        re.compile(rb"data:image/svg|<svg", re.IGNORECASE),
        "it is an SVG drawing; send the bytes of a JPEG or PNG",
    ),
    (
        re.compile(rb"[a-z][a-z0-9+.-]{0,20}://", re.IGNORECASE),
        "it is a URL, and no URL is fetched; send the bytes of the image",
    ),
    (
        re.compile(rb"b['\"].{0,200}\\x", re.DOTALL),
        "it is Python's repr of raw bytes; send base64.b64encode(data).decode()",
    ),
    (
        re.compile(
            rb"[a-z]:[\\/]|[~.]{0,2}[/\\][^\n]*\.\w{2,5}\Z|[^\n]*\.(jpe?g|png|bmp|webp|tiff?|gif)\Z",
            re.IGNORECASE,
        ),
        "it is a path, and no file of the service is read; send the bytes of the file",
    ),
)


def repaired(text: bytes) -> bytes:
    """Return base64 in the standard alphabet, without white space, for a text that is not.

    Raises:
        ValueError: it is something else; the text says what, and what to send.
    """
    mended = bytearray(text)
    repair(mended)
    return bytes(mended)


def repair(text: bytearray) -> None:
    """Change `text` into what `repaired` returns.

    Raises:
        ValueError: as `repaired`.
    """
    reason = _foreign(text)
    if reason:
        raise ValueError(reason)
    blank = text.find(_BLANK, _blanks_at_begin(text)) + 1
    _strip(text)
    _unwrap(text)
    if b"%" in text:
        change(text, _unescaped, b"%", 3)
        _strip(text)
    head = _DATA_URL.match(text[:_LONGEST_HEAD])
    if head:
        del text[: head.end()]
    first = text.find(_BLANK)
    # Groups are short, so that their first end is near; one look at the first of them is enough.
    groups = text[: first + _COMPARED_BYTES].split() if first <= _COMPARED_BYTES else []
    change(text, lambda piece: piece.translate(None, _BREAKS))
    lines = len(text)
    change(text, lambda piece: piece.translate(None, _BLANK))
    if len(text) < lines and b"+" not in text and b"-" not in text:
        _check_blanks(blank, groups, len(text))
    _make_standard(text)


def _strip(text: bytearray) -> None:
    end = len(text)
    while text[max(0, end - 1) : end].isspace():
        run = text[max(0, end - _RUN) : end]
        end -= len(run) - len(run.rstrip())
    del text[end:]
    del text[: _blanks_at_begin(text)]


def _blanks_at_begin(text: bytearray) -> int:
    begin = 0
    while text[begin : begin + 1].isspace():
        run = text[begin : begin + _RUN]
        begin += len(run) - len(run.lstrip())
    return begin


def _foreign(text: bytearray) -> str:
    """Return what the text is where it is no base64 at all, and what to send; "" if unknown."""
    head = text[:_LONGEST_HEAD].strip()
    return next((reason for pattern, reason in _FOREIGN if pattern.match(head)), "")


def _unwrap(text: bytearray) -> None:
    """Leave what is between quotes: `str()` of bytes in Python, or a string in JSON twice."""
    wrapped = _WRAPPED.match(text[:2])
    if wrapped is None or len(text) <= wrapped.end() or text[-1:] != wrapped["quote"]:
        return
    begin = wrapped.end()
    del text[-1:]
    del text[:begin]
    # The repr of `base64.encodebytes` has line breaks as two characters.
    change(text, _without_line_breaks, b"\\", 2)


def _without_line_breaks(piece: bytes) -> bytes:
    return piece.replace(b"\\n", b"").replace(b"\\r", b"")


def _unescaped(piece: bytes) -> bytes:
    """Return the piece without its escapes; in C, in one pass.

    Raises:
        ValueError: one is none; the other pieces need not be looked at.
    """
    if not any(wrong in piece for wrong in _NO_ESCAPES):
        plain = binascii.a2b_qp(piece.translate(_TO_QUOTED_PRINTABLE)).replace(b"%", b"=")
        if len(piece) - len(plain) == 2 * piece.count(b"%"):
            return plain
    raise ValueError("it has a % that is no escape of base64")


def _check_blanks(blank: int, groups: List[bytearray], size: int) -> None:
    """Check that blanks only separate groups of one length, as lines do.

    The first blank is the character number `blank`; `size` characters are none.

    Raises:
        ValueError: they do not, so they were `+` once, or the text is something else.
    """
    lengths = [len(group) for group in groups]
    whole = lengths[:-1]
    regular = len(set(whole)) == 1 and lengths[-1] <= whole[0] <= _COMPARED_BYTES
    if regular and size % 4 == 0:
        return
    if size < _LEAST_LOST:
        raise ValueError("it has blanks within")
    raise ValueError(
        "character {} is a blank where base64 has +, which a form makes of it; "
        "write + as %2B there, or send JSON".format(blank)
    )


def _make_standard(text: bytearray) -> None:
    """Bring the text into the standard alphabet; the URL-safe one may do without padding."""
    if b"-" not in text and b"_" not in text:
        return
    if b"+" in text or b"/" in text:
        raise ValueError("it has both alphabets of base64, with + or / and with - or _")
    change(text, lambda piece: piece.translate(_URL_SAFE))
    missing = -len(text) % 4
    if missing < 3:
        text += b"=" * missing


def change(
    text: bytearray, make: Callable[[bytes], bytes], escape: bytes = b"", longest: int = 1
) -> None:
    """Put what `make` makes of each piece in its place; it makes none longer.

    None of the escapes of `longest` characters is cut. Other threads run between the pieces.
    """
    begin = written = 0
    while begin < len(text):
        end = min(begin + _PIECE, len(text))
        if end < len(text) and escape:
            cut = text.rfind(escape, end - longest + 1, end)
            end = cut if cut > begin else end
        piece = make(bytes(text[begin:end]))
        text[written : written + len(piece)] = piece
        written += len(piece)
        begin = end
    del text[written:]
