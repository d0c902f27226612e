"""The one error of this room."""

from __future__ import annotations


class DatasetError(Exception):
    """A dataset cannot be used as asked; the text names what is wrong and what to do."""
