"""The version of the installed distribution."""

from __future__ import annotations

import importlib.metadata


def version() -> str:
    """Return the version, or "(not installed)"."""
    try:
        return importlib.metadata.version("paddle-serving-kit")
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"
