"""How long the tests wait for what must come."""

from __future__ import annotations

PATIENCE_S = 300.0
"""The longest wait for anything, in seconds: enough for a slow machine with other work.

Nothing is measured with it: a test that finds everything as it should be ends long before.
"""
