"""The one error of this room."""

from __future__ import annotations


class BundleError(Exception):
    """A bundle cannot be used; the text names the file, what is wrong and what to do."""
