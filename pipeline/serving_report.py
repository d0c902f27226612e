"""What one service serves, as text: for the log, `status` and the report of a reload."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

KINDS = ("model", "parameters", "labels", "classifier")
_SHORT_DIGITS = 12


def served_text(files: Mapping[str, Any], as_before: Collection[str] = ()) -> str:
    """Return the line for `files`, as `hosts.served` gives them.

    `as_before` names the kinds that a reload has not changed.
    """
    return "; ".join(_parts(files, as_before))


def served_lines(name: str, files: Mapping[str, Any], as_before: Collection[str] = ()) -> str:
    """Return the same for a terminal: the service's name, then a line for each file."""
    return "\n  ".join([name, *_parts(files, as_before)])


def _parts(files: Mapping[str, Any], as_before: Collection[str]) -> list[str]:
    parts = []
    for kind in KINDS:
        facts = files.get(kind)
        if facts is None:
            continue
        digest = (facts["sha256"] or "unknown")[:_SHORT_DIGITS]
        same = ", as before" if kind in as_before else ""
        parts.append(f"{kind} {facts['file']} (sha256 {digest}{same})")
    return parts or [f"bundle {files.get('bundle', 'unknown')}"]


def unchanged(files: Mapping[str, Any], before: Mapping[str, Any]) -> list[str]:
    """Return the kinds whose content is as it was; their paths may be others."""
    return [kind for kind in KINDS if _digest(files, kind) == _digest(before, kind) is not None]


def _digest(files: Mapping[str, Any], kind: str) -> str | None:
    facts = files.get(kind)
    digest: str | None = facts["sha256"] if facts else None
    return digest
