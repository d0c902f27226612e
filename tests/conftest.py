"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


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
