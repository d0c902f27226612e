"""The error of a configuration that the official engine cannot serve."""

from __future__ import annotations


class ConfigurationError(Exception):
    """0.9 cannot serve this configuration; the text names the key and what to do."""
