"""A process with all that it has started, and the memory that they take together."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path


def family(process_id: int) -> list[int]:
    """Return the process and all its descendants.

    Raises:
        OSError: one is gone.
    """
    children = Path(f"/proc/{process_id}/task/{process_id}/children").read_text().split()
    return [process_id, *(pid for child in children for pid in family(int(child)))]


def pss_kib(process_id: int) -> int:
    """Return the process's share of memory in KiB; pages that others have too count in part.

    Raises:
        OSError: it is gone.
    """
    return _sizes_kib(process_id)["Pss"]


def family_bytes(process_ids: Iterable[int]) -> int:
    """Return the memory of processes and their descendants, whatever else runs.

    Unlike a sum of PSS, it is the same where strangers map the same libraries: pages of files count
    as often as they are in the process that has most of them.

    Raises:
        OSError: one is gone.
    """
    own, files = 0, 0
    for process_id in process_ids:
        for member in family(process_id):
            sizes = _sizes_kib(member)
            own += sizes["Anonymous"]
            files = max(files, sizes["Rss"] - sizes["Anonymous"])
    return 1024 * (own + files)


def _sizes_kib(process_id: int) -> dict[str, int]:
    """Return the figures of /proc/PID/smaps_rollup (proc(5))."""
    text = Path(f"/proc/{process_id}/smaps_rollup").read_text()
    return {name: int(kib) for name, kib in re.findall(r"^(\w+): +(\d+) kB", text, re.M)}
