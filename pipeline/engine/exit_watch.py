"""Watches one child process for its end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

_POLL_S = 0.05


class ExitWatch:
    """Calls `on_exit` once when a child process has ended; the process is left to be reaped.

    Attributes:
        exited: done when it has ended.
    """

    def __init__(self, pid: int, on_exit: Callable[[], None]) -> None:
        """Watch the process `pid`; must be called on the running loop."""
        self._loop = asyncio.get_running_loop()
        self._pid = pid
        self._on_exit = on_exit
        self._timer: asyncio.TimerHandle | None = None
        self._descriptor = -1
        self.exited: asyncio.Future[None] = self._loop.create_future()
        try:
            self._descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):  # an old kernel, or a sandbox without pidfd
            self._poll()
        else:
            self._loop.add_reader(self._descriptor, self._ended)

    def close(self) -> None:
        """Stop watching; may be called more than once."""
        if self._timer is not None:
            self._timer.cancel()
        if self._descriptor >= 0:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def _poll(self) -> None:
        try:
            ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            self._ended()  # it is reaped already
            return
        if ended is not None:
            self._ended()
        else:
            self._timer = self._loop.call_later(_POLL_S, self._poll)

    def _ended(self) -> None:
        self.close()
        if not self.exited.done():
            self.exited.set_result(None)
            self._on_exit()
