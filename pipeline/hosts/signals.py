"""The signals of a host: SIGTERM and SIGINT stop it, SIGHUP reloads it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def handled_signals(
    stop: Callable[[], None], interrupt: Callable[[], None], reload: Callable[[], None]
) -> Iterator[None]:
    """Call `stop` or `reload` from the running loop at a signal, until this ends.

    `interrupt` is called at Ctrl-C, where a person waits for the end.
    """
    loop = asyncio.get_running_loop()
    in_terminal = os.isatty(0)

    def hang_up() -> None:
        # A terminal that is closed sends SIGHUP too, and is gone by then.
        if in_terminal and not os.isatty(0):
            stop()
        else:
            reload()

    handlers = {signal.SIGTERM: stop, signal.SIGINT: interrupt, signal.SIGHUP: hang_up}
    for number, handler in handlers.items():
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in handlers:
            loop.remove_signal_handler(number)
