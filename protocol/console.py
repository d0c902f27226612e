"""What all commands have in common: their streams, Ctrl-C, a reader that leaves.

`COMMAND | head -1` closes the pipe while the command still writes. Python reports that as an
OSError of any `print`, or of its own end, when it writes what is buffered. Here it ends the command
as a SystemExit, which no handler of OSError takes for an error of a file.

Runs on Python 3.8 too, and imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Any, Callable, Optional

READER_LEFT = 141  # as a shell reports a program that SIGPIPE ended
INTERRUPTED = 130  # as a shell reports a program that SIGINT ended
NOT_WRITTEN = 1


class ReaderLeft(SystemExit):
    """The reader of stdout has left; what is written from now on is discarded."""

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


def make_writable() -> None:
    """Have stdout and stderr escape what their encoding lacks."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")


class _Pipe(io.FileIO):
    """A file that reports a reader that has left as `ReaderLeft`."""

    def write(self, data: Any) -> int:  # noqa: ANN401 - as io.FileIO has it
        try:
            return super().write(data)
        except BrokenPipeError:
            _discard(self.fileno())
            raise ReaderLeft(READER_LEFT) from None


def _watch_stdout() -> None:
    """Have stdout raise `ReaderLeft`; it writes to where it wrote before."""
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
        SystemExit: it cannot be written.
    """
    if sys.stderr is not None:
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
    if sys.stdout is None or sys.stdout.closed:
        return
    try:
        sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout.fileno())
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write("error: cannot write to stdout: {}\n".format(error.strerror))
        sys.exit(NOT_WRITTEN)


def _discard(descriptor: int) -> None:
    """Let everything that is still written go nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, descriptor)
    os.close(nowhere)
