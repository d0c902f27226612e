"""The body of a reply, unpacked while it arrives, within a bound of what it unpacks to."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

_WINDOWS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
_RAW_DEFLATE = -15  # as some servers send "deflate"
ACCEPTED = "gzip, deflate"


class UnpackingError(Exception):
    """The body cannot be unpacked, or is over the bound; the text says why."""


def unpacked(pieces: Iterable[bytes], encodings: list[str], most_bytes: int) -> bytes:
    """Return the whole body; no more than `most_bytes` of it are ever made.

    Raises:
        UnpackingError: it is larger, damaged, packed twice, or packed in another way.
    """
    packed_in = [name for name in encodings if name != "identity"]
    if len(packed_in) > 1:
        raise UnpackingError(f"is packed {len(packed_in)} times over, not once at most")
    if packed_in and packed_in[0] not in _WINDOWS:
        raise UnpackingError(f"is packed in a way that was not offered ({ACCEPTED} were)")
    body = bytearray()
    unpacker = _Unpacker(packed_in[0]) if packed_in else None
    for piece in pieces:
        body += piece if unpacker is None else unpacker.unpack(piece, most_bytes - len(body) + 1)
        if len(body) > most_bytes:
            raise UnpackingError(f"is over {most_bytes} bytes (max_reply_bytes of the client)")
    if unpacker is not None and body and not unpacker.ended:
        raise UnpackingError(f"is damaged: its {packed_in[0]} is cut off")
    return bytes(body)


class _Unpacker:
    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._zlib = zlib.decompressobj(_WINDOWS[encoding])
        self._is_first = True

    @property
    def ended(self) -> bool:
        """Whether the packed data is complete."""
        return self._zlib.eof

    def unpack(self, piece: bytes, most_bytes: int) -> bytes:
        """Return at most `most_bytes` of what the piece unpacks to."""
        try:
            content = self._unpack(piece, most_bytes)
        except zlib.error as error:
            raise UnpackingError(f"is damaged: it is no {self._encoding} ({error})") from error
        if self._zlib.unused_data:
            raise UnpackingError(f"is damaged: its {self._encoding} goes on behind its end")
        return content

    def _unpack(self, piece: bytes, most_bytes: int) -> bytes:
        first, self._is_first = self._is_first, False
        try:
            return self._zlib.decompress(piece, most_bytes)
        except zlib.error:
            if not first or self._encoding != "deflate":
                raise
        self._zlib = zlib.decompressobj(_RAW_DEFLATE)
        return self._zlib.decompress(piece, most_bytes)
