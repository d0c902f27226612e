"""Base64 of any length, decoded piece by piece.

One call for all of a long text would keep every other thread of the process from running until it
is done: the interpreter's lock is let go of between the pieces only.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Iterator

PIECE = 256 * 1024  # characters


def decode_base64(text: str) -> bytes:
    """Return the bytes that `text` says; white space in it is left out.

    Raises:
        ValueError: it is not base64.
    """
    return decode_pieces(text[at : at + PIECE] for at in range(0, len(text), PIECE))


def decode_pieces(pieces: Iterable[str]) -> bytes:
    """Return the bytes that the texts say in a row; raises as `decode_base64`."""
    whole = io.BytesIO()  # joined at the end, they would be copied in one call
    for decoded in _decoded(pieces):
        whole.write(decoded)
    return whole.getvalue()


def _decoded(pieces: Iterable[str]) -> Iterator[bytes]:
    rest, begun, ended = "", False, False
    for piece in pieces:
        # The line breaks of MIME encoders are harmless.
        text = rest + "".join(piece.split())
        whole = len(text) - len(text) % 4
        rest = text[whole:]
        if ended and text:
            raise ValueError("Excess data after padding")
        if whole:
            yield base64.b64decode(text[:whole], validate=True)
            begun, ended = True, text[whole - 1] == "="
    if ended and rest:
        raise ValueError("Excess data after padding")
    if rest.strip("=") or (rest and not begun):  # padding behind whole bytes is harmless
        raise ValueError("Incorrect padding")
