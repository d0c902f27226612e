"""The error of this package."""

from __future__ import annotations


class DatasetError(Exception):
    """A dataset cannot be used in this way; the text says what is wrong and what to do."""
