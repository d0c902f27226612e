"""What all commands have in common: their streams, Ctrl-C, a reader that leaves.

Runs on Python 3.8 too, and imports nothing but the standard library.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import Callable

READER_LEFT = 141  # as a shell reports a program that SIGPIPE ended
INTERRUPTED = 130  # as a shell reports a program that SIGINT ended


def as_command(main: Callable[[], int]) -> int:
    """Run the `main` of a command; return its exit code.

    Text that stdout or stderr cannot encode is written as escapes, so that no name or label ends a
    program. A reader that leaves (`| head`) and Ctrl-C end it without a stack trace.
    """
    make_writable()
    try:
        code = main()
    except BrokenPipeError:
        code = READER_LEFT
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


def _flush() -> None:
    """Write what is buffered; what has no reader is thrown away, also at Python's end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
