"""Callers with patience: what each got, whether it was right, and when."""

from __future__ import annotations

import asyncio
import json
import time
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from protocol.errors import ServingError, wire_codes

from ..soak.wire import HttpConnection, HttpMessage, NoAnswerError, read_http
from .services import Subject
from .world import SERVICE, World

# Three times what the services are configured to take; whoever waits longer has been forgotten.
PATIENCE_S = 15.0
TOLERANCE = 1e-3  # of a score: two versions of Paddle, batches of other sizes


@dataclass
class Answers:
    """What callers got; times in seconds since the load began."""

    right: int = 0
    wrong: int = 0
    mixed_up: int = 0  # another image's answer
    lost: int = 0  # nothing within PATIENCE_S, or the connection broke
    errors: Counter[int] = field(default_factory=Counter)  # by err_no
    taken_s: list[float] = field(default_factory=list)  # of all that were answered
    right_at_s: list[float] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """How many requests were made."""
        return self.right + self.wrong + self.mixed_up + self.lost + self.errors.total()


class Callers:
    """Ask a service for the world's images, each caller one after the other."""

    def __init__(self, subject: Subject, world: World) -> None:
        self.answers = Answers()
        self._subject = subject
        self._world = world
        self._began = time.monotonic()
        self._stopped = False
        self._next = 0

    async def run(self, count: int) -> None:
        """Have `count` callers until `stop`."""
        await asyncio.gather(*(self._caller() for _ in range(count)))

    def stop(self) -> None:
        """Let every caller end after its request."""
        self._stopped = True

    async def once(self, connection: HttpConnection | None = None) -> None:
        """Ask one request."""
        self._next += 1
        number = self._next % len(self._world.images)
        own = connection or HttpConnection(self._subject.http_port)
        began = time.monotonic()
        try:
            _, body = await own.ask(envelope(self._world.images[number]), PATIENCE_S)
            self._judge(number, body)
            self.answers.taken_s.append(time.monotonic() - began)
        except NoAnswerError:
            self.answers.lost += 1
            await asyncio.sleep(0.2)  # a refused connection would be tried again at once
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
            self.answers.errors[err_no(reply, body)] += 1
            return
        result = reply.results[0] if len(reply.results) == 1 else ()
        if isinstance(result, ServingError) or not result:
            self.answers.wrong += 1
            return
        found = (result[0].label, result[0].score)
        if self._is(number, found):
            self.answers.right += 1
            self.answers.right_at_s.append(time.monotonic() - self._began)
        elif any(self._is(other, found) for other in range(len(self._world.best))):
            self.answers.mixed_up += 1
        else:
            self.answers.wrong += 1

    def _is(self, number: int, found: tuple[str, float]) -> bool:
        label, score = self._world.best[number]
        return label == found[0] and abs(score - found[1]) < TOLERANCE


def envelope(image: bytes) -> HttpMessage:
    """Return the request that both services understand: JSON with base64."""
    body = {"key": ["image"], "value": [b64encode(image).decode()]}
    return HttpMessage(f"/{SERVICE}/prediction", json.dumps(body).encode())


def err_no(error: ServingError, body: bytes) -> int:
    """Return the number that an error came with, also one that only 0.9 knows."""
    told = json.loads(body).get("err_no") if body.startswith(b"{") else None
    return told if isinstance(told, int) else wire_codes(error).err_no


async def under_load(
    subject: Subject,
    world: World,
    event: Callable[[], object],
    *,
    callers: int = 4,
    before_s: float = 3.0,
    after_s: float = 12.0,
) -> tuple[Answers, float]:
    """Load the service, let `event` happen in the middle; return the answers, and when it was."""
    asking = Callers(subject, world)
    running = asyncio.create_task(asking.run(callers))
    began = time.monotonic()
    await asyncio.sleep(before_s)
    event()
    happened_s = time.monotonic() - began
    await asyncio.sleep(after_s)
    asking.stop()
    await running
    return asking.answers, happened_s


async def answers_again(subject: Subject, world: World) -> bool:
    """Whether most of six new requests are answered right, one after the other."""
    asking = Callers(subject, world)
    for _ in range(6):
        await asking.once()
        if asking.answers.lost > 1:
            break
    return asking.answers.right >= 4
