"""Where the paths of a configuration lead. Kept clean for Python 3.8, as the table of keys is.

A relative path is relative to the folder of the configuration file, else to the folder above it.
Where neither has it, the working folder of the start counts, as in Paddle Serving 0.9.

A release is often switched by a symbolic link, so names are followed anew at each reading, and the
folder of the configuration once: half of the old release and half of the new one is never read.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Collection, List, Optional, Tuple


def working_folder() -> Optional[Path]:
    """Return the working folder by the name that the shell used, with links; None if it is gone.

    The kernel knows only the folder that a link led to when the process started.
    """
    named = Path(os.environ.get("PWD", ""))
    try:
        if named.is_absolute() and named.samefile("."):
            return named
        return Path.cwd()
    except OSError:
        return None


def absolute(path: Path, working: Optional[Path]) -> Path:
    """Return `path` from the root on, with its links; `working` is the working folder."""
    path = path.expanduser()
    return path if path.is_absolute() or working is None else working / path


class Places:
    """The folders in which the relative paths of one configuration are looked for.

    Attributes:
        file: the configuration in its real folder; it is read from there.
        from_working_folder: the paths that were found in the working folder only, each with its
            key.
    """

    def __init__(
        self,
        path: Path,
        working: Optional[Path] = None,
        working_keys: Optional[Collection[str]] = None,
    ) -> None:
        """Take the configuration at `path`, and the working folder; None: it does not count.

        With `working_keys` it counts for these keys only.
        """
        # Followed once: a link that is switched meanwhile must not mix two releases.
        folder = Path(os.path.realpath(str(path.parent)))
        self.file = folder / path.name
        self.from_working_folder: List[Tuple[str, Path]] = []
        self._near = (folder, folder.parent)
        self._working = working
        self._working_keys = working_keys

    def find(self, name: str, key: str) -> Optional[Path]:
        """Return the real path of `name`, which exists, or None."""
        given = Path(name).expanduser()
        for folder in self._near:
            if (folder / given).exists():
                return Path(os.path.realpath(str(folder / given)))
        allowed = self._working_keys is None or key in self._working_keys
        if self._working is None or not allowed or not (self._working / given).exists():
            return None
        found = Path(os.path.realpath(str(self._working / given)))
        self.from_working_folder.append((key, found))
        return found

    def missing(self, name: str) -> str:
        """Return the text of an error about `name`, which `find` did not find."""
        folder, above = self._near
        looked = [str(folder), str(above)] + ([str(self._working)] if self._working else [])
        where = "" if Path(name).expanduser().is_absolute() else f" in {' or '.join(looked)}"
        return (
            f"there is no {name}{where}; write the path relative to the configuration file, or "
            "from the root on"
        )
