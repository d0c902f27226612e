"""One line a request at level info; under load a sample of them, and how many more there were."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter

LINES_A_SECOND = 50

logger = logging.getLogger("pipeline.requests")


@dataclasses.dataclass(frozen=True, slots=True)
class RequestLine:
    """What is logged of a request; of its images only their number."""

    service: str
    protocol: str
    outcome: str
    err_no: int
    images: int
    log_id: int
    seconds: float
    client: str

    def __str__(self) -> str:
        images = f"{self.images} image{'s' if self.images != 1 else ''}"
        outcome = self.outcome if not self.err_no else f"{self.outcome} ({self.err_no})"
        text = f"{self.service} {self.protocol} {outcome} {images} {1e3 * self.seconds:.1f} ms"
        if self.log_id:
            text += f" log_id {self.log_id}"
        return f"{text} from {self.client}"


class RequestLog:
    """Writes lines, at most `lines_a_second` of successful requests and as many of others.

    What is left out is counted, and logged in one line at the end of its second.
    """

    def __init__(self, lines_a_second: int) -> None:
        self._limit = lines_a_second
        self._written = {True: 0, False: 0}
        self._left_out: Counter[str] = Counter()
        self._window: asyncio.TimerHandle | None = None

    def write(self, line: RequestLine) -> None:
        """Log one request, or count it as left out."""
        if not logger.isEnabledFor(logging.INFO):
            return
        if self._window is None:
            self._window = asyncio.get_running_loop().call_later(1.0, self._next_second)
        good = line.outcome == "ok"
        if self._written[good] < self._limit:
            self._written[good] += 1
            fields = dataclasses.asdict(line)
            fields["seconds"] = round(line.seconds, 6)
            logger.info("%s", line, extra=fields)
        else:
            self._left_out[line.outcome] += 1

    def close(self) -> None:
        """Log what was left out, now."""
        if self._window is not None:
            self._window.cancel()
            self._next_second()

    def _next_second(self) -> None:
        self._window = None
        self._written = {True: 0, False: 0}
        if self._left_out:
            counted = ", ".join(f"{count} {name}" for name, count in self._left_out.most_common())
            logger.info(
                "%d more requests in this second: %s",
                self._left_out.total(),
                counted,
                extra={"left_out": dict(self._left_out)},
            )
            self._left_out.clear()
