"""The error of a configuration that cannot be served."""

from __future__ import annotations


class ConfigError(Exception):
    """The configuration cannot be served; the text names the key and what it should be."""
