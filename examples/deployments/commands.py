"""Runs commands as a reader would type them."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .deployment import ROOT
from .errors import DeploymentError

_QUIET = {"PYTHONWARNINGS": "ignore", "GLOG_minloglevel": "2"}


def run(command: Sequence[str | Path], *, log: Path) -> str:
    """Run `command` in the repository's root; return its output, which is also written to `log`.

    Raises:
        DeploymentError: it failed; the text ends with its last lines.
    """
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **_QUIET},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    shown = shlex.join(_short(word) for word in words)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as out:
        out.write(f"$ {shown}\n{done.stdout}\n")
    if done.returncode:
        last = "\n".join(done.stdout.strip().splitlines()[-5:])
        raise DeploymentError(f"exit code {done.returncode} of: {shown}\n{last}")
    return done.stdout


def _short(word: str) -> str:
    return os.path.relpath(word, ROOT) if word.startswith(str(ROOT)) else word
