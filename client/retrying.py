"""Trying again when a service says that it is busy or starting; classifying twice does no harm."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from protocol.errors import NotReady, Overloaded

Answer = TypeVar("Answer")

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


def with_retries(ask: Callable[[], Answer], retries: int, timeout_s: float) -> Answer:
    """Return `ask()`, asked again up to `retries` times while the service is busy or starting.

    No new try begins when its pause would end past `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    for _ in range(retries):
        try:
            return ask()
        except (Overloaded, NotReady):
            if time.monotonic() + pause_s > deadline:
                raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
    return ask()
