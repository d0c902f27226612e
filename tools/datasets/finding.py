"""A fault of a dataset."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tools.text import printable


@dataclass(frozen=True)
class Finding:
    """One fault and what to do about it.

    Attributes:
        kind: what it is, in two or three words; the same for all of its kind.
        where: the file or folder it was found in.
        text: what is wrong and what to do.
        lines: the lines of `where`, from 1; empty for what is no text file.
        images: the images concerned.
    """

    kind: str
    where: str
    text: str
    lines: tuple[int, ...] = ()
    images: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Return the finding as JSON takes it."""
        return {
            "kind": self.kind,
            "where": printable(self.where),
            "lines": list(self.lines),
            "pictures": [printable(image) for image in self.images],
            "text": printable(self.text),
        }
