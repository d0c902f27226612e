"""The folders that workers use: the working folder, those of Python's modules, that of Python.

Each is a real folder, fixed when an engine is made. Where a release is switched by a link, workers
of one engine stay with one release however often they are started again, and a reload makes an
engine that follows the link.
"""

from __future__ import annotations

import sys
from pathlib import Path

from ..settings.paths import working_folder

# The Python of the environment: its last link leads out of the environment, and is kept.
PYTHON = str(Path(sys.executable).parent.resolve() / Path(sys.executable).name)

# The folder that holds the package `pipeline`. Workers start in it, so that they import this
# project also where it is not installed, whatever the service's own folder holds.
ROOT = Path(__file__).resolve().parents[2]

# The working folder of the start: by the name that the shell used, and as it was.
_STARTED_IN = working_folder()
_REALLY_STARTED_IN = _STARTED_IN and _STARTED_IN.resolve()


def real_working_folder() -> str | None:
    """Return the working folder; a link by which it was named at the start is followed anew.

    None if it is gone.
    """
    try:
        here = Path.cwd()
    except FileNotFoundError:
        here = None
    started_here = here is None or here == _REALLY_STARTED_IN
    if _STARTED_IN is not None and started_here and _STARTED_IN.is_dir():
        return str(_STARTED_IN.resolve())
    return None if here is None else str(here)


def real_import_path() -> tuple[str, ...]:
    """Return the entries of `sys.path`; those within the working folder move with it."""
    working = real_working_folder()
    entries = []
    for entry in map(Path, sys.path):
        if entry.is_absolute():
            real = entry.resolve()
        elif working is None:
            continue
        else:
            real = (working / entry).resolve()
        if working is not None and _REALLY_STARTED_IN is not None:
            moves = Path(working) != _REALLY_STARTED_IN and real.is_relative_to(_REALLY_STARTED_IN)
            real = working / real.relative_to(_REALLY_STARTED_IN) if moves else real
        entries.append(str(real))
    return tuple(dict.fromkeys(entries))
