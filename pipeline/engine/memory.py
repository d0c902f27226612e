"""How many workers the memory has room for: the kernel ends those that are too many, for ever.

A first worker is started, and measured when it is warm; then as many more as have room.
"""

from __future__ import annotations

import asyncio
import math
import re
from dataclasses import dataclass
from pathlib import Path
from weakref import WeakKeyDictionary

from ..settings.machine import Machine

# What a worker takes at most that was not measured: runtimes with small models take less.
_GUESS_BYTES = 400 * 2**20
_COPIES = 3  # of the parameters, while they are loaded
# Requests grow a worker beyond its warm-up, and the service process takes their bodies.
_GROWTH = 1.25
_SPARE_BYTES = 128 * 2**20


@dataclass(frozen=True, slots=True)
class Room:
    """How many more workers have room.

    Attributes:
        more: workers beside those that run; None if no limit is known.
        text: why, for the log.
    """

    more: int | None
    text: str


class Promises:
    """What the engines of this process are about to take, and the system does not count yet."""

    def __init__(self) -> None:
        self._bytes: dict[object, int] = {}
        self._locks: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]
        self._locks = WeakKeyDictionary()

    def lock(self) -> asyncio.Lock:
        """Return the lock of the running loop, for the engine that measures."""
        return self._locks.setdefault(asyncio.get_running_loop(), asyncio.Lock())

    def make(self, engine: object, size: int) -> None:
        """`engine` will take so many bytes."""
        self._bytes[engine] = size

    def end(self, engine: object) -> None:
        """`engine` has taken them, or never will."""
        self._bytes.pop(engine, None)

    def beside(self, engine: object) -> int:
        """Return what all other engines will take."""
        return sum(size for other, size in self._bytes.items() if other is not engine)


PROMISES = Promises()


def guess_bytes(workers: int, model_bytes: int) -> int:
    """Return what workers take at most that were not measured."""
    return workers * (_GUESS_BYTES + _COPIES * model_bytes)


def is_ample(wanted_bytes: int, machine: Machine) -> bool:
    """Whether there is so much memory that no worker need be measured."""
    free = machine.free_bytes()
    return free is None or wanted_bytes + _SPARE_BYTES <= free


def room_beside(pid: int | None, guess: int, machine: Machine, promised: int = 0) -> Room:
    """Return how many more workers like the process `pid`, which is warm, have room.

    `guess` is what one takes if the process is gone; `promised` bytes are free and will be taken
    by others.
    """
    free = machine.free_bytes()
    if free is None:
        return Room(None, "")
    taken = (None if pid is None else memory_of(pid)) or guess
    free = max(0, free - promised)
    each = math.ceil(_GROWTH * taken)
    more = max(0, (free - _SPARE_BYTES) // each)
    limit = machine.memory_bytes()
    of = f" of the limit of {_mib(limit)} MiB" if limit is not None else ""
    return Room(more, f"one takes {_mib(taken)} MiB, {_mib(free)} MiB{of} are free")


def memory_of(pid: int) -> int | None:
    """Return the most bytes that a process has had for itself; None if it is gone.

    Pages of files are left out: all workers share them, and the kernel can give them up.
    """
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    sizes = {name: 1024 * int(kib) for name, kib in re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}
    if "RssAnon" not in sizes:
        return sizes.get("VmHWM")
    return max(sizes["RssAnon"], sizes.get("VmHWM", 0) - sizes.get("RssFile", 0))


def how_killed(before: int | None, after: int | None, limit: int | None) -> str:
    """Return what is known of a SIGKILL that was not ours, by the kernel's counter of OOM kills."""
    if before is None or after is None:
        return "was ended by SIGKILL (the system may be out of memory)"
    if after <= before:
        return "was ended by SIGKILL from outside (the kernel counts no out-of-memory kill here)"
    of = f": the limit is {_mib(limit)} MiB" if limit is not None else ""
    return (
        f"was ended by the kernel's out-of-memory killer (SIGKILL){of}; give the service more "
        "memory, or fewer workers (concurrency)"
    )


def _mib(size: int) -> int:
    return size // 2**20
