"""One worker process: its birth, its connection, its output and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence

from ..settings.machine import Machine
from .channel import Channel
from .command import WorkerCommand
from .exit_watch import ExitWatch
from .frames import Frame, Header
from .memory import how_killed
from .output import OutputRelay

_LEAVE_LIMIT_S = 1.0
_REAP_LIMIT_S = 10.0
_REAP_STEP_S = 0.02


class WorkerProcess:
    """A running worker.

    `on_frame` gets every frame it sends. `on_gone` is called once, after the last frame, when
    the connection or the process has ended, whichever is seen first, with a reason if `reap` will
    not return one; `reap` must follow. Neither is called after `reap` has begun.
    """

    def __init__(
        self,
        name: str,
        index: int,
        command: WorkerCommand,
        on_frame: Callable[[Frame], None],
        on_gone: Callable[[str | None], None],
        oom_kills: int | None = None,
    ) -> None:
        """Start the process and send it its start message; must be called on the running loop.

        `oom_kills` is the kernel's counter before it.

        Raises:
            OSError: the system is out of processes, descriptors or memory.
        """
        self._loop = asyncio.get_running_loop()
        self._on_gone: Callable[[str | None], None] | None = on_gone
        self._killed = False
        self._oom_kills = oom_kills
        token = secrets.token_hex(8)
        start_message = command.start_message(token)
        with contextlib.ExitStack() as undo, contextlib.ExitStack() as child_ends:
            ours, theirs = socket.socketpair()
            undo.callback(ours.close)
            child_ends.callback(theirs.close)
            output, child_output = os.pipe()
            undo.callback(os.close, output)
            child_ends.callback(os.close, child_output)
            self._process = _started(command, index, theirs.fileno(), child_output)
            undo.pop_all()
        self._output = OutputRelay(output, f"{name} ({self._process.pid})", token)
        self._channel = Channel(ours, on_frame, self._gone)
        self._exit_watch = ExitWatch(self._process.pid, self._exited)
        self.send(start_message)

    @property
    def pid(self) -> int:
        """The process's number."""
        return self._process.pid

    @property
    def last_output(self) -> str:
        """The last lines that the process printed, without control characters."""
        return "\n".join(self._output.tail)

    def send(self, header: Header, payload: Sequence[bytes] = ()) -> None:
        """Send one frame."""
        self._channel.send(header, payload)

    def hang_up(self) -> None:
        """Let the process finish its batch and leave."""
        self._channel.hang_up()

    def kill(self) -> None:
        """End the process and all it has started, now; `on_gone` follows."""
        # The number stays the process's own until it is reaped.
        if self._process.returncode is None:
            self._killed = self._killed or not self._exit_watch.exited.done()
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    async def reap(self) -> str:
        """Kill the remaining processes, close everything, wait for the exit; return its cause."""
        self._on_gone = None
        exited = self._exit_watch.exited
        leaving = exited.done()
        self._channel.close()
        try:
            if not leaving:
                # It may be leaving by itself, with an exit code that says more than our kill.
                await asyncio.wait((exited,), timeout=_LEAVE_LIMIT_S)
            stayed = not exited.done() and not self._killed
            self.kill()
            await asyncio.wait((exited,), timeout=_REAP_LIMIT_S)
        finally:
            self.kill()
            self._exit_watch.close()
            self._output.close()
        code = self._process.poll()
        if code is None:
            return "does not end although it was killed"
        await _reap_orphans(self._process.pid)
        if stayed:
            return "closed its connection and stayed, so that it had to be killed"
        if code == -signal.SIGKILL and not self._killed:
            return await asyncio.to_thread(self._how_killed)
        return _how_it_ended(code)

    def _how_killed(self) -> str:
        machine = Machine()
        return how_killed(self._oom_kills, machine.oom_kills(), machine.memory_bytes())

    def _exited(self) -> None:
        self._channel.receive()  # frames that it sent before its end come first
        self._gone(None)

    def _gone(self, reason: str | None) -> None:
        callback, self._on_gone = self._on_gone, None
        if callback is not None:
            callback(reason)


def _started(
    command: WorkerCommand, index: int, connection: int, output: int
) -> subprocess.Popen[bytes]:
    """Start worker `index` with its ends of the connection and of the output pipe."""
    try:
        return subprocess.Popen(
            command.arguments(connection),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=command.folder,
            env=command.environment_of(index),
            pass_fds=(connection,),
            # A group of its own: Ctrl-C in a terminal reaches the service alone, and a kill reaches
            # everything that the worker has started.
            start_new_session=True,
        )
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error.filename} of this program does not exist any more; put it back, or start the "
            "service from where the program is now"
        ) from error


async def _reap_orphans(group: int) -> None:
    """Wait for what the ended worker of `group` had started and left to this process.

    Process 1 of a container inherits it, and nothing else ends the entries of these processes.
    """
    ends = time.monotonic() + _LEAVE_LIMIT_S
    with contextlib.suppress(ChildProcessError):  # nearly always: there are none
        while time.monotonic() < ends:
            if not os.waitpid(-group, os.WNOHANG)[0]:  # noqa: ASYNC222 - it does not block
                await asyncio.sleep(_REAP_STEP_S)


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was ended by {name}"
