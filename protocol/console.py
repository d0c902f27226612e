"""What all commands have in common: their streams, Ctrl-C, a reader that leaves.

`COMMAND | head -1` closes the pipe while the command still writes. Python reports that as an
OSError of any `print`, or of its own end, when it writes what is buffered. Here it ends the command
as a SystemExit, which no handler of OSError takes for an error of a file. So does a full disk.

Runs on Python 3.8 too, and needs nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import io
import os
import queue
import sys
import threading
from typing import Any, Callable, Optional, Tuple, TypeVar

from .escaping import escaped

T = TypeVar("T")

READER_LEFT = 141  # as a shell reports a program that SIGPIPE ended
INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


class OutputLost(SystemExit):
    """Stdout cannot be written, for the reason given; what is written from now on is discarded."""

    def __init__(self, error: OSError) -> None:
        self._reason = str(error.strerror)
        # Python itself writes a text, and ends with exit code 1.
        super().__init__("error: cannot write to stdout: {}".format(self._reason))

    def __str__(self) -> str:
        return self._reason


class ReaderLeft(OutputLost):
    """The reader of stdout has left."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error)
        self.code = READER_LEFT

    def __str__(self) -> str:
        return "its reader has left"


def as_command(main: Callable[[], Optional[int]]) -> int:
    """Run the `main` of a command; return its exit code.

    Text that stdout or stderr cannot encode is written as escapes, so that no name or label ends a
    program. A reader that leaves (`| head`) and Ctrl-C end it without a stack trace, output that
    cannot be written, to a full disk for example, with its reason.
    """
    make_writable()
    _watch_stdout()
    try:
        code = main() or 0
    except KeyboardInterrupt:
        code = INTERRUPTED
    except SystemExit:
        _flush()
        raise
    _flush()
    return code


def print_error(text: str) -> None:
    """Print `error: TEXT` to stderr, with escapes for what a terminal would act on.

    Text of a peer may be in it. Further lines of it are indented, so that none of them passes for
    a message of ours.
    """
    print("error: " + escaped(text).replace("\n", "\n  "), file=sys.stderr)


def within(seconds: float, work: Callable[[], T]) -> T:
    """Return what `work` returns, within so many seconds, whatever it waits for.

    For commands, which end soon: work that takes longer goes on in its thread until the process
    ends, and is not waited for then.

    Raises:
        TimeoutError: it takes longer.
    """
    outcome: queue.Queue[Tuple[Optional[BaseException], Any]] = queue.Queue()

    def run() -> None:
        try:
            outcome.put((None, work()))
        except BaseException as error:  # noqa: BLE001 - it is raised below
            outcome.put((error, None))

    threading.Thread(target=run, name="within", daemon=True).start()
    try:
        error, result = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError("not done within {:g} s".format(seconds)) from None
    if error is not None:
        raise error
    return result  # type: ignore[no-any-return]


def make_writable() -> None:
    """Have stdout and stderr escape what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


class _Pipe(io.FileIO):
    """A file that reports that it cannot be written as `OutputLost`."""

    def write(self, data: Any) -> int:  # noqa: ANN401 - as io.FileIO has it
        try:
            return super().write(data)
        except OSError as error:
            _discard(self.fileno())
            kind = ReaderLeft if isinstance(error, BrokenPipeError) else OutputLost
            raise kind(error) from None


def _watch_stdout() -> None:
    """Have stdout raise `OutputLost`; it writes to where it wrote before."""
    stdout = sys.stdout
    if not isinstance(stdout, io.TextIOWrapper):  # no stdout at all, or that of a test
        return
    stdout.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Pipe(stdout.fileno(), "wb", closefd=False)),
        encoding=stdout.encoding,
        errors=stdout.errors,
        line_buffering=stdout.line_buffering,
        write_through=stdout.write_through,
    )


def _flush() -> None:
    """Write what is buffered: Python's own end would report errors in a form of its own.

    Raises:
        OutputLost: it cannot be written.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
    if sys.stdout is not None and not sys.stdout.closed:
        sys.stdout.flush()


def _discard(descriptor: int) -> None:
    """Let everything that is still written go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
