"""What can go wrong with a deployment."""

from __future__ import annotations


class DeploymentError(Exception):
    """A deployment cannot be made or answers wrong; the text says which step and why."""
