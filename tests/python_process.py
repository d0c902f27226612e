"""Code that wants a Python of its own: it may crash, print, or import what must not be here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any


def answer_of(root: Path, code: str, *arguments: str, **environment: str) -> dict[str, Any]:
    """Run `code` in the repository's root to its good end; return the last line it prints, JSON."""
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=root,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer
