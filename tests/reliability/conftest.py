"""Runs a command of reliability as a user types it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S


@pytest.fixture
def run_command(root: Path, tmp_path: Path) -> Callable[..., str]:
    """Run `python -m reliability.NAME ... --output tmp_path` to its good end; return its output."""

    def run(name: str, *arguments: str) -> str:
        pytest.importorskip("paddle", reason="the service needs the extra cpu or gpu")
        command = [sys.executable, "-m", f"reliability.{name}", *arguments]
        done = subprocess.run(
            [*command, "--output", str(tmp_path)],
            cwd=root,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run
