"""Progress of a measurement: a bar on a terminal, else a line for each stage, on stderr."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from protocol.escaping import escaped_line

Say = Callable[[str, float], None]


@contextlib.contextmanager
def progress(seconds: float) -> Iterator[Say]:
    """Yield a function of what is measured now and the seconds that are left."""
    with _quiet_workers():
        if sys.stderr.isatty():
            with _bar(seconds) as say:
                yield say
        else:
            yield _Lines().say


@contextlib.contextmanager
def _bar(seconds: float) -> Iterator[Say]:
    columns = (BarColumn(20), TextColumn("{task.fields[left]}  {task.fields[now]}"))
    with Progress(*columns, console=Console(stderr=True, markup=False), transient=True) as shown:
        task = shown.add_task("", total=seconds, left="", now="")

        def say(now: str, left_s: float) -> None:
            left = f"{left_s:3.0f} s left" if left_s > 0 else "the last rounds"
            done = min(seconds, seconds - left_s)
            shown.update(task, completed=done, left=left, now=escaped_line(now))

        yield say


class _Lines:
    """A line each time the stage changes, or the candidate in stages that have one turn each."""

    def __init__(self) -> None:
        self._last = ""

    def say(self, now: str, left_s: float) -> None:
        stage = now.partition(":")[0]
        line = stage if stage.startswith(("final", "in turns")) else now
        if line != self._last:
            self._last = line
            left = f"{left_s:.0f} s left" if left_s > 0 else "the last rounds"
            print(f"tune: {escaped_line(line)} ({left})", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _quiet_workers() -> Iterator[None]:
    """Keep what workers log off the terminal; the last line of one that fails is in its row."""
    logger = logging.getLogger("pipeline")
    before = logger.propagate
    nowhere = logging.NullHandler()
    logger.addHandler(nowhere)
    logger.propagate = False
    try:
        yield
    finally:
        logger.propagate = before
        logger.removeHandler(nowhere)
