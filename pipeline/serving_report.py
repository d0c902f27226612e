"""What one service serves, as a line of text: for the log, `status` and the report of a reload."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_SHORT_DIGITS = 12


def served_text(files: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> str:
    """Return the line for `files`, as `hosts.served` gives them; `before`: what it was."""
    parts = []
    for kind in ("model", "parameters", "labels", "classifier"):
        facts = files.get(kind)
        if facts is None:
            continue
        digest = (facts["sha256"] or "unknown")[:_SHORT_DIGITS]
        same = before is not None and before.get(kind) == facts
        parts.append(f"{kind} {facts['file']} (sha256 {digest}{', as before' if same else ''})")
    return "; ".join(parts) or f"bundle {files['bundle']}"
