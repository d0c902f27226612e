"""A peer that runs: started, ready, stopped while others are measured, and ended."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from pipeline.engine.family import family, pss_kib

from ..bare import ROOT, one_thread_environment
from ..http_forms import HTTP_FORMS, http_message
from ..images import image_files
from ..service import HOST, free_ports
from .models import Model, ModelError
from .peer import Peer, PeerError, Setting, Start

START_TIMEOUT_S = 90.0


@dataclass
class Running:
    """A started peer; all of its processes are in the session of `process`, or descend from it."""

    peer: Peer
    setting: Setting
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    def pause(self) -> None:
        """Stop all its processes, so that it takes nothing from the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal(signal.SIGCONT)

    def memory_mib(self) -> float:
        """Return the memory of its processes in MiB; pages they share count once."""
        total = 0
        for process_id in self._processes():
            with contextlib.suppress(OSError, StopIteration):
                total += pss_kib(process_id)
        return total / 1024

    def close(self) -> None:
        """End it: politely, then by force."""
        self.resume()
        known = self._processes()
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=10)
        # Some peers leave processes behind; their session and the list above have them.
        for process_id in {*known, *_session(self.process.pid)}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, signal.SIGKILL)
        self.process.wait()

    def _processes(self) -> list[int]:
        found = set(_session(self.process.pid))
        with contextlib.suppress(OSError):
            found |= set(family(self.process.pid))
        return sorted(found)

    def _signal(self, number: signal.Signals) -> None:
        for process_id in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(process_id, number)


def start_peer(
    peer: Peer, model: Model, runtime: str, workers: int, setting: Setting, work: Path
) -> Running:
    """Start a peer and return it when it has answered an image; try twice.

    On a busy machine Ray sometimes waits for ever for a part of itself that gave up.

    Raises:
        PeerError: it is not installed, cannot serve the model, or did not start.
    """
    if reason := peer.missing():
        raise PeerError(reason)
    with contextlib.suppress(PeerError):
        return _start(peer, model, runtime, workers, setting, work)
    return _start(peer, model, runtime, workers, setting, work)


def _start(
    peer: Peer, model: Model, runtime: str, workers: int, setting: Setting, work: Path
) -> Running:
    # Short, for some peers put sockets here, whose paths may have 107 bytes.
    folder = work / f"{peer.name}-{model.name}-{runtime}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (port,) = free_ports(1)
    try:
        launch = peer.launch(Start(model, runtime, workers, setting, port, folder))
    except ModelError as error:
        raise PeerError(str(error)) from error
    log = folder / "log.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            launch.command,
            cwd=launch.folder,
            env={**one_thread_environment(), **launch.environment},
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
    running = Running(peer, setting, port, process, log)
    try:
        _wait(running)
    except BaseException:
        running.close()
        raise
    return running


def _wait(running: Running) -> None:
    image = image_files(ROOT / "examples" / "images", 1)[0]
    peer = running.peer
    message = http_message(peer.path, *HTTP_FORMS[peer.form].body(image.read_bytes()))
    log = os.path.relpath(running.log, ROOT)
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _answers(running.port, message):
        if running.process.poll() is not None:
            raise PeerError(f"ended with code {running.process.returncode}; see {log}")
        if time.monotonic() > deadline:
            raise PeerError(f"gave no reply for {START_TIMEOUT_S:.0f} s; see {log}")
        time.sleep(0.2)


def _answers(port: int, message: bytes) -> bool:
    with (
        contextlib.suppress(OSError),
        socket.create_connection((HOST, port), timeout=20) as connection,
    ):
        connection.sendall(message)
        return b" 200 " in connection.recv(65536).partition(b"\r\n")[0]
    return False


def _session(leader: int) -> list[int]:
    """Return the processes of a session: proc(5), the sixth field of stat."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError, IndexError):
            fields = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == leader:
                found.append(int(entry.name))
    return found
