"""The one moment until which an exchange may last, whatever it consists of."""

from __future__ import annotations

import time

LONGEST_S = 365 * 86400.0  # more than a year does not fit into a socket's timeout everywhere


class Deadline:
    """So many seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + min(seconds, LONGEST_S)

    def left_s(self) -> float:
        """Return the seconds until then; less than 0 if it has passed."""
        return self._end - time.monotonic()

    def sooner(self, seconds: float) -> Deadline:
        """Return the deadline in `seconds`, or this one if it is sooner."""
        return Deadline(min(seconds, self.left_s()))

    def shared(self, others: int) -> Deadline:
        """Return the deadline of an attempt that `others` can follow: half of the time for it."""
        return self.sooner(self.left_s() / 2) if others else self
