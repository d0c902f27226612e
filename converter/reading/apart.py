"""Reads graphs in a process of their own, so that a stranger's graph can do no harm here.

Native code parses graphs (protobuf, ONNX, ONNX Runtime): a kilobyte can make it take gigabytes, run
for ever or write over its own memory. The process has bounds of memory and time that follow from
the size of the files, no secrets in its environment, and no rights; see `confinement`. What is
wrong with it becomes one ConversionError.
"""

from __future__ import annotations

import filecmp
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from bundle.formats import GraphFormat
from pipeline.predictors.onnx_library import NO_TELEMETRY
from pipeline.settings.machine import Machine

from ..errors import ConversionError
from .confinement import Limits
from .graph import Graph
from .graph_json import from_json, to_json

# Beside eight times the size of the files: ONNX and ONNX Runtime each keep two copies for a while.
_MEMORY, _COPIES = 512 << 20, 8
_SECONDS, _BYTES_A_SECOND = 60, 8 << 20
# A machine that is busy, or a slow disk, makes time pass without computing.
_WALL = 5
_LARGEST_REPLY = 64 << 20
_REMEMBERED = 4
# What a process needs to start; API keys and the like stay here.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "PATH", "PYTHONHOME", "SYSTEMROOT")
_HARM = "it is damaged, or made to do harm: do not serve it, and export the model again"
_SCARCE = "look at it where more is free (of the machine, the container, ulimit -v)"


class _Read(NamedTuple):
    """A graph that was read, and the file with the facts that change when it is written."""

    reader: str
    path: Path
    facts: tuple[int, ...]
    reply: str


_read: list[_Read] = []


def read_apart(graph_format: GraphFormat, path: Path) -> Graph:
    """Read a graph with the reader of its format, in a process of its own.

    A file with the content of one that was read before is not read again: a conversion reads the
    export, and the copy that it writes.

    Raises:
        ConversionError: the file is no such graph, or reading it takes too much memory or time, or
            ends the process.
    """
    known = _known(graph_format.reader, path)
    if known is not None:
        return from_json(json.loads(known), path.parent)
    limits, facts = _limits(graph_format, path), _facts(path)
    graph = _graph(path, _reply(graph_format, path, limits), limits)
    if not graph.data_files:  # which lie where the copy does
        reply = to_json(graph, path.parent)
        _read[:] = [_Read(graph_format.reader, path, facts, reply), *_read[: _REMEMBERED - 1]]
    return graph


def _known(reader: str, path: Path) -> str | None:
    for read in _read:
        if read.reader != reader:
            continue
        try:
            facts = _facts(path)
            if facts == read.facts:
                return read.reply
            same_size = facts[0] == read.facts[0] and _facts(read.path) == read.facts
            if same_size and filecmp.cmp(read.path, path, shallow=False):
                return read.reply
        except OSError:
            continue
    return None


def _facts(path: Path) -> tuple[int, ...]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns, facts.st_ino


def _limits(graph_format: GraphFormat, path: Path) -> Limits:
    """Bounds by what lies on the disk: a file of nothing but holes counts as none."""
    beside = path.parent.iterdir() if graph_format.params_file is None else [path]
    size = 0
    for file in beside:
        if file.is_file():
            facts = file.stat()
            size += min(facts.st_size, facts.st_blocks * 512)
    enough = memory = _MEMORY + _COPIES * size
    free = Machine().free_bytes()
    if free is not None:
        # a file that is mapped counts as memory here, though its pages can be dropped again
        memory = min(memory, max(free, _MEMORY) + size)
    return Limits(memory, _SECONDS + size // _BYTES_A_SECOND, memory < enough)


def _reply(graph_format: GraphFormat, path: Path, limits: Limits) -> bytes:
    request = {
        "reader": graph_format.reader,
        "path": str(path),
        "cwd": str(Path.cwd()),
        "memory": limits.memory,
        "seconds": limits.seconds,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", f"{__package__}.reading_process", json.dumps(request)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=_environment(),
        cwd="/",  # which comes first where modules are looked for, and only root writes there
    )
    try:
        reply = _receive(process, time.monotonic() + _WALL * limits.seconds)
    finally:
        process.kill()
        process.wait()
    if process.returncode != 0 and not reply.endswith(b"\n"):
        raise _ended(path, process.returncode, limits)
    return reply


def _environment() -> dict[str, str]:
    # the working folder, which `python -m` looks into, may be a stranger's
    kit, here = str(Path(__file__).parents[2]), str(Path.cwd())
    folders = [kit, *(folder for folder in sys.path if folder not in ("", here, kit))]
    return {
        **{name: os.environ[name] for name in _ENVIRONMENT if name in os.environ},
        "PYTHONPATH": os.pathsep.join(folders),
        "LC_ALL": "C.UTF-8",
        # it keeps a file in the user's cache otherwise, open for writing
        **NO_TELEMETRY,
        # threads of linear algebra, which reading has no use for, take address space
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _receive(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """What the process writes until it ends or the deadline passes, up to a bound."""
    stdout = process.stdout
    if stdout is None:
        return b""
    pieces: list[bytes] = []
    size = 0
    with stdout:
        while size <= _LARGEST_REPLY:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([stdout], [], [], left)[0]:
                return b""
            piece = os.read(stdout.fileno(), 1 << 20)
            if not piece:
                # its exit code says how it ended
                process.wait(timeout=max(1.0, left))
                return b"".join(pieces)
            pieces.append(piece)
            size += len(piece)
    return b""


def _ended(path: Path, code: int, limits: Limits) -> ConversionError:
    """The error of a process that ended without a reply."""
    if code in (-signal.SIGXCPU, -signal.SIGKILL):
        return ConversionError(
            f"{path}: reading it takes more than {limits.seconds} seconds of computing time, or"
            f" more memory than there is; {_HARM}"
        )
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    scarce = f"{_SCARCE}; else " if limits.scarce else ""
    return ConversionError(
        f"{path}: reading it ended the process that reads graphs ({how}; it may take"
        f" {limits.memory >> 20} MiB): {scarce}{_HARM}"
    )


def _no_memory(path: Path, had: object, limits: Limits) -> ConversionError:
    """The error of a process whose memory did not suffice; it had `had` bytes of it."""
    if limits.scarce or (isinstance(had, int) and had < limits.memory):
        mib = min(int(had) if isinstance(had, int) else limits.memory, limits.memory) >> 20
        return ConversionError(
            f"{path}: reading it takes more memory than the {mib} MiB that are free; {_SCARCE}"
        )
    return ConversionError(
        f"{path}: reading it takes more than {limits.memory >> 20} MiB of memory; {_HARM}"
    )


def _graph(path: Path, reply: bytes, limits: Limits) -> Graph:
    try:
        document: dict[str, Any] = dict(json.loads(reply))
        if "graph" in document:
            return from_json(document["graph"], path.parent)
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConversionError(f"{path}: cannot be read as a graph; {_HARM}") from error
    if "memory" in document:
        raise _no_memory(path, document["memory"], limits)
    if "error" in document:
        raise ConversionError(str(document["error"]))
    raise ConversionError(
        f"{path}: cannot be read as a graph ({document.get('unexpected')}); export it again"
    )
