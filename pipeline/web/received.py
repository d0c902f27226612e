"""What a connection has received, taken out in pieces: lines, and parts of bodies."""

from __future__ import annotations


class Received:
    """The bytes that are not parsed yet.

    Attributes:
        is_incomplete: whether the rest is the beginning of a line.
    """

    def __init__(self) -> None:
        self.is_incomplete = False
        self._bytes = b""
        self._piece_at = self._at = 0  # the piece that was taken out last is between them

    def __len__(self) -> int:
        return len(self._bytes) - self._at

    @property
    def piece(self) -> bytes:
        """The piece that was taken out last."""
        return self._bytes[self._piece_at : self._at]

    def add(self, data: bytes | memoryview) -> None:
        """Append a copy of `data`."""
        self._bytes, self._at = self._bytes[self._at :] + data, 0
        self.is_incomplete = False

    def take(self, size: int, *, whole_lines: bool) -> memoryview:
        """Return the next piece: `size` bytes, or what there is of them; 0 is a line.

        An incomplete line is a piece too, but if `whole_lines`: then there is no piece.
        """
        end = self._at + size if size else self._bytes.find(b"\n", self._at) + 1
        if not end and whole_lines:
            self.is_incomplete = True
            return memoryview(b"")
        piece = memoryview(self._bytes)[self._at : end or None]
        self._piece_at, self._at = self._at, self._at + len(piece)
        return piece

    def clear(self) -> None:
        """Forget everything."""
        self._bytes, self._piece_at, self._at = b"", 0, 0
        self.is_incomplete = False
