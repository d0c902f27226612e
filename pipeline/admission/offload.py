"""Bodies are read on the event loop where that is quick, and in a thread where they are large.

One thread: more of them would only take turns at the interpreter's lock, and the loop would wait
for all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

# About a millisecond; a thread costs a tenth of one.
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
    """Return what `parse` makes of a body of `size` bytes; raises what it raises.

    Who is cancelled waits until the thread has let go of the body, so that what is counted as
    being in memory is.
    """
    if size < LARGE_BYTES:
        return parse(*arguments, **options)
    job = _thread.submit(parse, *arguments, **options)
    try:
        return await asyncio.wrap_future(job)
    except asyncio.CancelledError:
        await _let_go(job)
        raise


async def _let_go(job: Future[_Parsed]) -> None:
    job.cancel()
    while not job.done():
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait((asyncio.wrap_future(job),))
