"""Names of files and numbers of lines as text that any terminal shows."""

from __future__ import annotations

from collections.abc import Iterable


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
