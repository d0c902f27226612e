"""What is told of a description that cannot be carried out."""

from __future__ import annotations


class PreprocessError(ValueError):
    """The description asks for what is not known; the text names the operator and the option."""
