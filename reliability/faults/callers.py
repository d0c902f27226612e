"""Callers that wait long; they count what they get, whether it is right, and when."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.errors import ServingError, wire_codes

from ..wire import HttpConnection, HttpMessage, NoReplyError, read_http
from .inputs import SERVICE, Inputs
from .services import Subject

# Three times the deadline of the services: after that no reply will come.
PATIENCE_S = 15.0
TOLERANCE = 1e-3  # of a score: two versions of Paddle, batches of other sizes


@dataclass
class Counts:
    """Counts of replies; times in seconds since the load began."""

    right: int = 0
    wrong: int = 0
    mixed_up: int = 0  # the result of another image
    lost: int = 0  # no reply within PATIENCE_S, or the connection broke
    errors: Counter[int] = field(default_factory=Counter)  # by err_no
    taken_s: list[float] = field(default_factory=list)  # of all replies
    right_at_s: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """How many requests were made."""
        return self.right + self.wrong + self.mixed_up + self.lost + self.errors.total()


class Callers:
    """Send the images of the inputs to a service; each caller sends one after the other."""

    def __init__(self, subject: Subject, inputs: Inputs) -> None:
        self.counts = Counts()
        self._subject = subject
        self._inputs = inputs
        self._began = time.monotonic()
        self._stopped = False
        self._next = 0

    async def run(self, count: int) -> None:
        """Run `count` callers until `stop`."""
        await asyncio.gather(*(self._caller() for _ in range(count)))

    def stop(self) -> None:
        """Let every caller end after its request."""
        self._stopped = True

    async def once(self, connection: HttpConnection | None = None) -> None:
        """Send one request."""
        self._next += 1
        number = self._next % len(self._inputs.images)
        own = connection or HttpConnection(self._subject.http_port)
        began = time.monotonic()
        try:
            _, body = await own.exchange(envelope(self._inputs.images[number]), PATIENCE_S)
            self._judge(number, body)
            self.counts.taken_s.append(time.monotonic() - began)
        except NoReplyError:
            self.counts.lost += 1
            await asyncio.sleep(
                0.2
            )  # a refused connection fails at once, and would be tried without a pause
        finally:
            if connection is None:
                await own.close()

    async def _caller(self) -> None:
        connection = HttpConnection(self._subject.http_port)
        while not self._stopped:
            await self.once(connection)
        await connection.close()

    def _judge(self, number: int, body: bytes) -> None:
        reply = read_http(body)
        if isinstance(reply, ServingError):
            self.counts.errors[err_no(reply, body)] += 1
            return
        result = reply.results[0] if len(reply.results) == 1 else ()
        if isinstance(result, ServingError) or not result:
            self.counts.wrong += 1
            return
        found = (result[0].label, result[0].score)
        if self._is(number, found):
            self.counts.right += 1
            self.counts.right_at_s.append(time.monotonic() - self._began)
        elif any(self._is(other, found) for other in range(len(self._inputs.best))):
            self.counts.mixed_up += 1
        else:
            self.counts.wrong += 1

    def _is(self, number: int, found: tuple[str, float]) -> bool:
        label, score = self._inputs.best[number]
        return label == found[0] and abs(score - found[1]) < TOLERANCE


def envelope(image: bytes) -> HttpMessage:
    """Return the request that both services read: JSON with base64."""
    body = {"key": ["image"], "value": [b64encode(image).decode()]}
    return HttpMessage(f"/{SERVICE}/prediction", json.dumps(body).encode())


def err_no(error: ServingError, body: bytes) -> int:
    """Return the err_no of the body, also one that only 0.9 knows."""
    number = json.loads(body).get("err_no") if body.startswith(b"{") else None
    return number if isinstance(number, int) else wire_codes(error).err_no


async def under_load(
    subject: Subject,
    inputs: Inputs,
    event: Callable[[], object],
    *,
    callers: int = 4,
    before_s: float = 3.0,
    after_s: float = 12.0,
) -> tuple[Counts, float]:
    """Load the service and call `event` in the middle; return the counts, and when that was."""
    sending = Callers(subject, inputs)
    running = asyncio.create_task(sending.run(callers))
    began = time.monotonic()
    await asyncio.sleep(before_s)
    event()
    happened_s = time.monotonic() - began
    await asyncio.sleep(after_s)
    sending.stop()
    await running
    return sending.counts, happened_s


async def replies_again(subject: Subject, inputs: Inputs) -> bool:
    """Whether most of six new requests, one after the other, have the right result."""
    sending = Callers(subject, inputs)
    for _ in range(6):
        await sending.once()
        if sending.counts.lost > 1:
            break
    return sending.counts.right >= 4
