"""Listeners of a state, which are called when it has changed, so that nothing has to poll it."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable

logger = logging.getLogger(__name__)

Listener = Callable[[], None]
Unsubscribe = Callable[[], object]


class Changes:
    """The listeners of one state.

    `subscribe` returns what ends the subscription. That refers to this object alone, not to the
    owner of the state, so a listener keeps no owner in memory.
    """

    def __init__(self) -> None:
        self._listeners: dict[object, Listener] = {}

    def subscribe(self, listener: Listener) -> Unsubscribe:
        """Have `listener` called at every change, until the returned function is called."""
        key = object()
        self._listeners[key] = listener
        return functools.partial(self._listeners.pop, key, None)

    def notify(self) -> None:
        """Call the listeners. They read the state themselves; one that fails is logged."""
        for listener in tuple(self._listeners.values()):
            try:
                listener()
            except Exception:  # the owner of the state must go on all the same
                logger.exception("a listener of a change failed")
