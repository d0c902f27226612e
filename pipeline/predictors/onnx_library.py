"""ONNX Runtime, loaded without its telemetry: wherever this kit opens a session.

Version 1.32 writes records of its use into a database in the user's cache, from its import on.
"""

from __future__ import annotations

import os
from typing import Any

# For the environment of a process that imports it by other ways; what the user sets is kept.
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}


def load_onnxruntime() -> Any:  # noqa: ANN401
    """Import ONNX Runtime.

    Raises:
        ImportError: it is not installed, or cannot be loaded.
    """
    for name, value in NO_TELEMETRY.items():
        os.environ.setdefault(name, value)
    import onnxruntime

    return onnxruntime
