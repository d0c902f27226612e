"""Reads many images in several processes, under a progress bar."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipeline.settings.machine import Machine, whole_cores

from .errors import DatasetError

T = TypeVar("T")
R = TypeVar("R")

# Below this number, starting processes takes longer than the work.
_WORTH_IT = 200
_CHUNK = 32


def default_jobs() -> int:
    """Return how many processors this process may use; the quotas of its cgroups count."""
    if hasattr(os, "sched_getaffinity"):
        return whole_cores(Machine().cores())
    return os.cpu_count() or 1


def each(
    function: Callable[[T], R], items: Sequence[T], *, jobs: int, title: str, bar: bool = True
) -> Iterator[R]:
    """Yield `function(item)` of every item, in order, with a bar on stderr if that is a terminal.

    `function` and its results travel between processes: a function of a module, small results.

    Raises:
        DatasetError: a process died.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    shown = bar and sys.stderr.isatty()
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not shown, transient=True
    ) as progress:
        yield from progress.track(
            _results(function, items, jobs), total=len(items), description=title
        )


def _results(function: Callable[[T], R], items: Sequence[T], jobs: int) -> Iterator[R]:
    if jobs == 1 or len(items) < _WORTH_IT:
        yield from map(function, items)
        return
    # Not forked: the bar runs in a thread, and a fork may copy a lock that it holds.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_prepare)
    try:
        yield from pool.map(function, items, chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise DatasetError(
            "a process that read images died, for want of memory perhaps; try --jobs 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare() -> None:
    # Ctrl-C reaches the whole process group; only the parent reacts to it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
