"""Memory that large requests have left is given back to the system when they are done.

The C library keeps freed memory for the next request: after a burst of large ones the service would
keep tens of megabytes for good, in pieces between what is still used.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

_LOOK_EVERY_S = 1.0
# Less is no matter: giving it back and fetching it again costs time.
_WORTH_BYTES = 8 * 2**20
# While requests never cease, it is given back all the same, this often.
_BUSY_LOOKS = 15
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryTrim:
    """Looks at the memory of this process once a second, and gives back what nobody uses.

    `busy` says whether requests are in memory. On a C library without `malloc_trim` (musl, macOS)
    nothing is done.
    """

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._kept = 0  # bytes, after the last time
        self._looks = 0  # while busy, since more than that was seen

    async def run(self) -> None:
        """Go on until cancelled."""
        if await asyncio.to_thread(trim) is None:
            return
        self._kept = await asyncio.to_thread(resident_bytes)
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            resident = await asyncio.to_thread(resident_bytes)
            self._kept = min(self._kept, resident)
            if resident < self._kept + _WORTH_BYTES:
                self._looks = 0
                continue
            self._looks += 1
            if not self._busy() or self._looks >= _BUSY_LOOKS:
                await asyncio.to_thread(trim)
                self._kept = await asyncio.to_thread(resident_bytes)
                self._looks = 0


def trim() -> bool | None:
    """Give freed memory back; return whether there was some, None where that cannot be done."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (AttributeError, OSError, TypeError):
        return None


def resident_bytes() -> int:
    """Return the memory of this process in RAM (proc(5), statm); 0 where it is not known."""
    try:
        return _PAGE_BYTES * int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return 0
