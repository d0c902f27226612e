"""The one error of this room."""

from __future__ import annotations


class EvaluationError(Exception):
    """Nothing can be evaluated; the text names what is wrong and what to do."""
