"""What a process that the service, or one of its workers, has started does first."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import signal
from pathlib import Path

_PR_SET_PDEATHSIG = 1


def die_with(parent: int) -> None:
    """Have the kernel kill this process when the process `parent` dies, even in native code."""
    with contextlib.suppress(OSError, AttributeError):  # no such call: the closed pipe is enough
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it died before the call above


def ignore_stop_signals() -> None:
    """Leave stopping to the service: it drains first, and a worker goes when it hangs up.

    Ctrl-C, and a supervisor that signals a whole group of processes, reach workers too.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def leave_no_core() -> None:
    """Have a crash write no file: a core dump has callers' images, and serving writes no file.

    faulthandler does not prevent it: it passes the signal on. Where the system pipes core dumps to
    a program (core(5)), that program still gets them, together with the limit.
    """
    with contextlib.suppress(OSError, ValueError):  # a sandbox that forbids changing limits
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def be_ended_first() -> None:
    """Have the kernel's out-of-memory killer prefer this process to its neighbours."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("800", encoding="ascii")
