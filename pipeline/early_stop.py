"""Signals before a service handles them: during its imports and while it reads its settings.

The kernel drops a signal that process 1 of a container has no handler for: a SIGTERM in the first
second would be lost, and the container would be killed when its patience ends. Elsewhere Ctrl-C in
that second would print a stack trace of some import.
"""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import List, Optional

_exit_code: List[int] = [0]


def stop_at_signals() -> None:
    """End the process at once at SIGTERM and Ctrl-C, until other handlers are set.

    SIGHUP asks for a reload, which has nothing to do yet; one that the end of a terminal sends
    ends the process.
    """
    in_terminal = os.isatty(0)

    def stop(_number: int, _frame: Optional[FrameType]) -> None:
        # Nothing is open yet. An exception could be caught by the import that it interrupts.
        os._exit(_exit_code[0])

    def hang_up(number: int, frame: Optional[FrameType]) -> None:
        if in_terminal and not os.isatty(0):
            stop(number, frame)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGHUP, hang_up)


def exit_with(code: int) -> None:
    """Have `stop_at_signals` end the process with `code`, which is 0 before."""
    _exit_code[0] = code
