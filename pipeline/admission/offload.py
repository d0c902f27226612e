"""Small bodies are parsed on the event loop, large ones in a thread.

There is one thread. Several would compete with the loop for the interpreter's lock, and the loop
would wait for each of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

# To parse a JSON body of this size takes 0.3 ms; to pass it to the thread costs 0.1 ms.
LARGE_BYTES = 512 * 1024

_Parameters = ParamSpec("_Parameters")
_Parsed = TypeVar("_Parsed")

_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="parse")


async def parsed(
    size: int,
    parse: Callable[_Parameters, _Parsed],
    *arguments: _Parameters.args,
    **options: _Parameters.kwargs,
) -> _Parsed:
    """Return what `parse` returns for a body of `size` bytes, or raise what it raises.

    A cancelled call ends only when the thread no longer uses the body, because the body's bytes
    stay reserved in the in-flight budget for as long as they are in memory.
    """
    if size < LARGE_BYTES:
        return parse(*arguments, **options)
    job = _thread.submit(parse, *arguments, **options)
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        await _end_of(job)
        raise


async def _end_of(job: Future[_Parsed]) -> None:
    """Cancel `job` if it waits for its turn; if it runs, wait for its end."""
    job.cancel()
    while not job.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((asyncio.wrap_future(job),))
