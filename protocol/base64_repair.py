"""Base64 as programs really send it, brought into the form that a decoder takes; or what it is.

Taken, since nothing else can be meant: the URL-safe alphabet, `b'...'` and quotes around it, line
breaks and blanks between groups, `%2B` for `+`, the head of a data URL in any case. Named: a path,
a URL, Python's repr of raw bytes, and base64 whose `+` became blanks in a form: without them it
would decode to other bytes.

Kept clean for Python 3.8: the official engine's ops read the same values.
"""

from __future__ import annotations

import binascii
import io
import re
from typing import Callable

_PIECE = 256 * 1024  # bytes; no other thread runs during one call
_LONGEST_HEAD = 1024
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
    reason = _foreign(text)
    if reason:
        raise ValueError(reason)
    plain = _unwrapped(text.strip())
    if b"%" in plain:
        plain = in_pieces(plain, _unescaped, b"%", 3).strip()
    head = _DATA_URL.match(plain[:_LONGEST_HEAD])
    plain = plain[head.end() :] if head else plain
    lines = in_pieces(plain, lambda piece: piece.translate(None, _BREAKS))
    compact = in_pieces(lines, lambda piece: piece.translate(None, _BLANK))
    if len(compact) < len(lines) and b"+" not in compact and b"-" not in compact:
        _check_blanks(text, plain, compact)
    return _standard(compact)


def _foreign(text: bytes) -> str:
    """Return what the text is where it is no base64 at all, and what to send; "" if unknown."""
    head = text[:_LONGEST_HEAD].strip()
    return next((reason for pattern, reason in _FOREIGN if pattern.match(head)), "")


def _unwrapped(text: bytes) -> bytes:
    """Return what is between quotes: `str()` of bytes in Python, or a string in JSON twice."""
    wrapped = _WRAPPED.match(text[:2])
    if wrapped is None or len(text) <= wrapped.end() or text[-1:] != wrapped["quote"]:
        return text
    # The repr of `base64.encodebytes` has line breaks as two characters.
    return in_pieces(text[wrapped.end() : -1], _without_line_breaks, b"\\", 2)


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


def _check_blanks(text: bytes, plain: bytes, compact: bytes) -> None:
    """Check that blanks only separate groups of one length, as lines do.

    Raises:
        ValueError: they do not, so they were `+` once, or the text is something else.
    """
    first = plain.index(_BLANK)
    # Groups are short, so that their first end is near; one look at the first of them is enough.
    lengths = [len(group) for group in plain[: first + _COMPARED_BYTES].split()]
    whole = lengths[:-1]
    regular = len(set(whole)) == 1 and lengths[-1] <= whole[0] <= _COMPARED_BYTES
    if regular and len(compact) % 4 == 0:
        return
    if len(compact) < _LEAST_LOST:
        raise ValueError("it has blanks within")
    begin = len(text) - len(text.lstrip())
    raise ValueError(
        "character {} is a blank where base64 has +, which a form makes of it; "
        "write + as %2B there, or send JSON".format(text.index(_BLANK, begin) + 1)
    )


def _standard(compact: bytes) -> bytes:
    """Return the text in the standard alphabet; the URL-safe one may do without padding."""
    if b"-" not in compact and b"_" not in compact:
        return compact
    if b"+" in compact or b"/" in compact:
        raise ValueError("it has both alphabets of base64, with + or / and with - or _")
    standard = in_pieces(compact, lambda piece: piece.translate(_URL_SAFE))
    missing = -len(standard) % 4
    return standard + b"=" * missing if missing < 3 else standard


def in_pieces(
    text: bytes, change: Callable[[bytes], bytes], escape: bytes = b"", longest: int = 1
) -> bytes:
    """Return what `change` makes of `text`; none of its escapes of `longest` characters is cut.

    Other threads run between the pieces.
    """
    changed = io.BytesIO()
    begin = 0
    while begin < len(text):
        end = min(begin + _PIECE, len(text))
        if end < len(text) and escape:
            cut = text.rfind(escape, end - longest + 1, end)
            end = cut if cut > begin else end
        changed.write(change(text[begin:end]))
        begin = end
    return changed.getvalue()
