"""What this process may use of the machine: cores and memory, as its cgroups limit them.

    cores    the smallest of: those it may be scheduled on, the quotas of its cgroups
    memory   the smallest limit of its cgroups, and what the machine has

A process is in one cgroup of each hierarchy, and every folder above it may have a smaller limit. In
a container the path in /proc/self/cgroup is often that of the host, which the container does not
see; its own cgroup is then the mounted folder itself.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path

_UNLIMITED_BYTES = 2**60  # version 1 writes a number near 2**63 where there is no limit


class Machine:
    """The limits of this process; each is read anew, since they may change.

    Args:
        root: the folder that holds `proc` and `sys`; another one than / in tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def cores(self) -> float:
        """Return how many cores this process may use; a quota may be a fraction."""
        schedulable = len(os.sched_getaffinity(0))
        return min([float(schedulable), *self._quotas()])

    def memory_bytes(self) -> int | None:
        """Return the smallest limit of memory, None if there is none but the machine itself."""
        limits = [limit for _, limit in self._memory_limits()]
        return min(limits, default=None)

    def free_bytes(self) -> int | None:
        """Return how much more memory this process and its children may take; None if unknown."""
        free = [limit - _used(folder) for folder, limit in self._memory_limits()]
        available = self._available()
        if available is not None:
            free.append(available)
        return max(0, min(free)) if free else None

    def cpu_facts(self) -> dict[str, str]:
        """Return what /proc/cpuinfo says of the first CPU, by its own names; {} if unknown."""
        facts: dict[str, str] = {}
        for line in _text(self._root / "proc" / "cpuinfo").splitlines():
            key, colon, value = line.partition(":")
            if colon:
                facts.setdefault(key.strip(), value.strip())
        return facts

    def oom_kills(self) -> int | None:
        """Return how often the kernel ended a process for memory in this process's cgroups."""
        found = None
        for folder in self._folders("memory"):
            for name in ("memory.events", "memory.oom_control"):
                for key, value in _pairs(folder / name):
                    if key == "oom_kill":
                        found = max(found or 0, int(value))
        return found

    def _quotas(self) -> Iterator[float]:
        for folder in self._folders("cpu"):
            quota, _, period = _text(folder / "cpu.max").partition(" ")  # version 2: "max 100000"
            if not quota:
                quota = _text(folder / "cpu.cfs_quota_us")  # version 1: -1 without a quota
                period = _text(folder / "cpu.cfs_period_us")
            if quota.isdigit() and period.isdigit() and int(quota) > 0 and int(period) > 0:
                yield int(quota) / int(period)

    def _memory_limits(self) -> list[tuple[Path, int]]:
        limits = []
        for folder in self._folders("memory"):
            for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
                text = _text(folder / name)
                if text.isdigit() and 0 < int(text) < _UNLIMITED_BYTES:
                    limits.append((folder, int(text)))
        return limits

    def _available(self) -> int | None:
        for line in _text(self._root / "proc" / "meminfo").splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
        return None

    def _folders(self, controller: str) -> Iterator[Path]:
        """Yield the folders of this process's cgroups that may limit `controller`, inmost first."""
        paths = self._paths(controller)
        for controllers, mounted, point in self._mounts():
            if controllers is None:  # version 2
                path = paths.get("")
            elif controller in controllers:
                path = paths.get(controller)
            else:
                continue
            folder = _inside(point, mounted, path or "/")
            while True:
                yield folder
                if folder == point:
                    break
                folder = folder.parent

    def _paths(self, controller: str) -> dict[str, str]:
        """Return the path of this process in the hierarchy of `controller`; of version 2 as ""."""
        paths = {}
        for line in _text(self._root / "proc" / "self" / "cgroup").splitlines():
            number, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if number == "0" and not controllers:
                paths[""] = path
            elif controller in controllers.split(","):
                paths[controller] = path
        return paths

    def _mounts(self) -> Iterator[tuple[set[str] | None, str, Path]]:
        """Yield controllers, root within the hierarchy, and place of each mount of cgroups.

        Of version 2 the controllers are None: all may be there. A mount of version 1 may have any
        name; its options have the controllers.
        """
        for line in _text(self._root / "proc" / "self" / "mountinfo").splitlines():
            before, _, after = line.partition(" - ")
            fields, (kind, _, source_and_options) = before.split(), after.partition(" ")
            if kind in ("cgroup", "cgroup2") and len(fields) > 4:
                options = set(source_and_options.rpartition(" ")[2].split(","))
                controllers = None if kind == "cgroup2" else options
                yield controllers, fields[3], self._root / fields[4].lstrip("/")


def _inside(point: Path, mounted: str, path: str) -> Path:
    """Return the folder of the cgroup `path` where its hierarchy is mounted at `point`.

    The mount may show only the part below `mounted`. A path that is not there is that of the host:
    the mount itself is then the container's own.
    """
    if path == mounted or path.startswith(mounted.rstrip("/") + "/"):
        path = path[len(mounted) :]
    folder = point / path.lstrip("/")
    inside = ".." not in Path(path).parts and folder.is_dir()
    return folder if inside else point


def _used(folder: Path) -> int:
    """Return the bytes that the cgroup has, without file pages that the kernel takes back first."""
    version_2 = _text(folder / "memory.current")
    text = version_2 or _text(folder / "memory.usage_in_bytes")
    if not text.isdigit():
        return 0
    given_back = "inactive_file" if version_2 else "total_inactive_file"
    inactive = sum(int(v) for k, v in _pairs(folder / "memory.stat") if k == given_back)
    return max(0, int(text) - inactive)


def _pairs(file: Path) -> Iterator[tuple[str, str]]:
    for line in _text(file).splitlines():
        key, _, value = line.partition(" ")
        if value.strip().isdigit():
            yield key, value.strip()


def _text(file: Path) -> str:
    """Return what a file holds, "" if it is not there: other kernels have other files."""
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""


def whole_cores(cores: float) -> int:
    """Return how many workers of one thread keep `cores` busy, at least one."""
    return max(1, math.floor(cores + 0.01))
