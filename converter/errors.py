"""What can go wrong when an export is read or converted."""

from __future__ import annotations


class ConversionError(Exception):
    """An export cannot become a bundle; `str(error)` is one line: the cause and what to do."""
