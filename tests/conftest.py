"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
# `examples` and `benchmarks` are no installed packages; they are found from the root.
sys.path.append(str(ROOT))


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository's root folder."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """Models and pictures made by others; never part of the repository."""
    folder = Path(os.environ.get("PADDLE_SERVING_KIT_SHARED", ROOT.parent / "shared"))
    if not (folder / "models").is_dir():
        pytest.skip(
            f"no third-party samples at {folder}; PADDLE_SERVING_KIT_SHARED names their folder"
        )
    return folder


@pytest.fixture
def free_port() -> int:
    """A port nobody listens on now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
