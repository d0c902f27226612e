"""The error of a deployment."""

from __future__ import annotations


class DeploymentError(Exception):
    """A deployment cannot be made or has wrong results; the text names the step and the reason."""
