"""Errors that end a command of the training tool; their texts say what to change."""

from __future__ import annotations


class DataError(Exception):
    """The data, or a number of the recipe, does not allow a run."""


class WeightsError(Exception):
    """Weights cannot be read, or are not of this network."""


class RunError(Exception):
    """A run cannot continue."""
