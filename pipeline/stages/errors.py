"""The error for a preprocessing description that cannot be carried out."""

from __future__ import annotations


class PreprocessError(ValueError):
    """The description has an unknown operator or option; the text names them."""
