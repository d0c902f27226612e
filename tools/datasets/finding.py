"""Something wrong with a dataset, and how names and line numbers are written for people."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


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


def printable(text: str) -> str:
    r"""Return `text` as any terminal takes it: undecodable bytes and control characters as \x."""
    # File names in another encoding hold lone surrogates, which no stream writes.
    readable = text.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in readable)


def ranges(lines: Iterable[int], most: int = 6) -> str:
    """Return line numbers in few words: "2, 5-9"; of many only the first `most` ranges."""
    spans: list[list[int]] = []
    for line in sorted(lines):
        if spans and line == spans[-1][1] + 1:
            spans[-1][1] = line
        else:
            spans.append([line, line])
    texts = [str(a) if a == b else f"{a}-{b}" for a, b in spans[:most]]
    return ", ".join(texts) + (" ..." if len(spans) > most else "")
