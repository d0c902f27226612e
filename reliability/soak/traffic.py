"""Callers of every kind, well-behaved and not; each answer goes to the judge."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from protocol.errors import ServingError
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.request import request_to_json, request_to_proto
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest, encoded

from .bad import bad_followers, bad_images, bad_messages
from .judge import Asked, Came, Judge, Verdict
from .wire import (
    BrokenError,
    HttpConnection,
    HttpMessage,
    NoAnswerError,
    RpcConnection,
    read_http,
)
from .world import SERVICES, TIMEOUT_S, Images

# The service answers within its deadline; the way there and back may take a while.
GRACE_S = 5.0
MEAN_PAUSE_S = 0.12
TOPK = {name: topk for name, _, topk in SERVICES}
JPEG = (("Content-Type", "image/jpeg"),)
MOST_EXAMPLES = 20


@dataclass
class Tally:
    """What became of all requests."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    images: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, asked: Asked, verdict: Verdict, why: str) -> None:
        """Count one request."""
        self.asked[asked.what] += 1
        self.images += len(asked.images)
        self.verdicts[verdict] += 1
        if verdict is Verdict.RIGHT_ERROR:
            self.errors[why] += 1
        if not verdict.good and len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{verdict.value}: {asked.what} to {asked.service}: {why}")

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return self.verdicts.total()


class Traffic:
    """Sends requests to the ports of one service process until told to stop."""

    def __init__(
        self, ports: tuple[int, int], images: Images, judge: Judge, chance: random.Random
    ) -> None:
        """`ports` are those of HTTP and RPC."""
        self.tally = Tally()
        self._http_port, self._rpc_port = ports
        self._images = images
        self._judge = judge
        self._chance = chance
        self._stop = asyncio.Event()
        self._bad_images = bad_images(images.encoded[-1])
        actions: dict[Callable[[HttpConnection, RpcConnection], Awaitable[None]], int] = {
            self._envelope: 26,
            self._raw: 14,
            self._form: 8,
            self._pipelined: 5,
            self._pipelined_with_garbage: 3,
            self._rpc: 26,
            self._one_bad_among_good: 5,
            self._bad_image: 4,
            self._bad_message: 5,
            self._hurried: 4,
            self._slow_sender: 3,
            self._gone: 5,
        }
        self._actions, self._weights = list(actions), list(actions.values())

    async def run(self, callers: int) -> None:
        """Have so many callers at once, until `stop`."""
        await asyncio.gather(*(self._caller() for _ in range(callers)))

    def stop(self) -> None:
        """Let each caller end after its request."""
        self._stop.set()

    def resume(self) -> None:
        """Allow `run` again."""
        self._stop.clear()

    async def burst(self, service: str, requests: int = 40, each: int = 6) -> None:
        """Ask for far more images at once than may wait."""

        async def one() -> None:
            http = HttpConnection(self._http_port)
            await self._send_envelope(http, service, self._some(each), "burst of several")
            await http.close()

        await asyncio.gather(*(one() for _ in range(requests)))

    async def _caller(self) -> None:
        http, rpc = HttpConnection(self._http_port), RpcConnection(self._rpc_port)
        try:
            while not self._stop.is_set():
                (action,) = self._chance.choices(self._actions, self._weights)
                await action(http, rpc)
                await asyncio.sleep(self._chance.expovariate(1 / MEAN_PAUSE_S))
        finally:
            await http.close()
            await rpc.close()

    # --- what a caller may do --------------------------------------------------------------------

    async def _envelope(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        count = self._chance.choice((1, 1, 1, 2, 5))
        what = "HTTP, JSON" if count == 1 else "HTTP, JSON, several"
        await self._send_envelope(http, self._service(), self._some(count), what)

    async def _raw(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        service, (number,) = self._service(), self._some(1)
        topk = self._chance.randint(1, TOPK[service])
        message = HttpMessage(
            f"/{service}/prediction?topk={topk}", self._images.encoded[number], JPEG
        )
        asked = self._asked("HTTP, bytes", service, (number,), topk=topk)
        await self._ask_http(http, message, asked)

    async def _form(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(self._chance.choice((1, 3)))
        boundary = "soak-6d1f3b"
        body = b"".join(
            f'--{boundary}\r\nContent-Disposition: form-data; name="f"; filename="{n}.jpg"\r\n'
            f"Content-Type: image/jpeg\r\n\r\n".encode()
            + self._images.encoded[n]
            + b"\r\n"
            for n in numbers
        )
        kind = (("Content-Type", f"multipart/form-data; boundary={boundary}"),)
        message = HttpMessage(f"/{service}/prediction", body + f"--{boundary}--\r\n".encode(), kind)
        await self._ask_http(http, message, self._asked("HTTP, form", service, numbers))

    async def _pipelined(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        """Send several requests at once on one connection, which are answered in their order."""
        several = []
        for _ in range(self._chance.choice((2, 3, 5, 8))):
            asked = self._asked("HTTP, pipelined", self._service(), self._some(1))
            several.append((asked, self._either_form_of(asked)))
        began = time.monotonic()
        await self._send(http, b"".join(message.encoded() for _, message in several))
        for asked, _ in several:
            await self._receive(http, asked, began)

    async def _pipelined_with_garbage(self, _http: HttpConnection, _rpc: RpcConnection) -> None:
        """Send a request and, at once, what is none: the request is answered as ever."""
        http = HttpConnection(self._http_port)
        asked = self._asked("HTTP, garbage behind it", self._service(), self._some(1))
        followers = bad_followers(self._images.encoded[0])
        name = self._chance.choice(list(followers))
        garbage, errors = followers[name]
        began = time.monotonic()
        await self._send(http, self._either_form_of(asked).encoded() + garbage)
        await self._receive(http, asked, began)
        bad = self._asked(f"behind a request: {name}", asked.service, (), errors=errors)
        # The connection may be closed without another answer, but not left open.
        await self._receive(http, bad, began, may_close=True)
        await http.close()

    async def _rpc(self, _http: HttpConnection, rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(self._chance.choice((1, 1, 1, 4)))
        asked = self._asked("RPC" if len(numbers) == 1 else "RPC, several", service, numbers)
        await self._ask_rpc(rpc, asked)

    async def _one_bad_among_good(self, http: HttpConnection, rpc: RpcConnection) -> None:
        service, numbers = self._service(), list[int | None](self._some(3))
        numbers.insert(self._chance.randint(0, 3), None)
        asked = self._asked("one bad image among good ones", service, tuple(numbers))
        if self._chance.random() < 0.5:
            await self._ask_http(http, self._envelope_of(asked), asked)
        else:
            await self._ask_rpc(rpc, asked)

    async def _bad_image(self, http: HttpConnection, rpc: RpcConnection) -> None:
        service = self._service()
        name = self._chance.choice(list(self._bad_images))
        data, errors = self._bad_images[name]
        asked = self._asked(f"bad image: {name}", service, (None,), errors=errors)
        if self._chance.random() < 0.5:
            await self._ask_http(http, HttpMessage(f"/{service}/prediction", data, JPEG), asked)
        else:
            await self._ask_rpc(rpc, asked, ClassifyRequest(encoded([data]), service))

    async def _bad_message(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        service = self._service()
        messages = bad_messages(service, self._images.encoded[self._some(1)[0]])
        name = self._chance.choice(list(messages))
        message, errors = messages[name]
        asked = self._asked(f"bad request: {name}", service, (), errors=errors)
        await self._ask_http(http, message, asked)

    async def _hurried(self, http: HttpConnection, rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(self._chance.choice((1, 4)))
        deadline_s = self._chance.choice((0.005, 0.03, 0.1, 0.5))
        asked = self._asked("a deadline of its own", service, numbers, deadline_s=deadline_s)
        if self._chance.random() < 0.5:
            header = (("X-Request-Timeout", str(deadline_s)),)
            await self._ask_http(http, self._envelope_of(asked, header), asked)
        else:
            await self._ask_rpc(rpc, asked)

    async def _slow_sender(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        asked = self._asked("slow sender", self._service(), self._some(1))
        await self._ask_http(http, self._envelope_of(asked), asked, pause_s=0.2)

    async def _gone(self, _http: HttpConnection, rpc: RpcConnection) -> None:
        asked = self._asked("caller that goes away", self._service(), self._some(2))
        way = self._chance.choice(("half sent", "sent", "while reading", "cancelled"))
        if way == "cancelled":
            await rpc.abandon(self._proto_of(asked), self._chance.uniform(0, 0.05))
        else:
            http = HttpConnection(self._http_port)
            sent = self._chance.random() if way == "half sent" else 1.0
            await http.abandon(self._envelope_of(asked), sent, 10 if way == "while reading" else 0)
        self.tally.add(asked, Verdict.GONE, way)

    # --- how it is sent --------------------------------------------------------------------------

    async def _send_envelope(
        self, http: HttpConnection, service: str, numbers: tuple[int, ...], what: str
    ) -> None:
        asked = self._asked(what, service, numbers)
        await self._ask_http(http, self._envelope_of(asked), asked)

    async def _ask_http(
        self, http: HttpConnection, message: HttpMessage, asked: Asked, pause_s: float = 0.0
    ) -> None:
        began = time.monotonic()
        answer = http.ask(message, asked.deadline_s + GRACE_S, pause_s)
        await self._count_http(asked, began, answer)

    async def _send(self, http: HttpConnection, content: bytes) -> None:
        with contextlib.suppress(NoAnswerError):  # `_receive` will tell
            await http.send(content, GRACE_S)

    async def _receive(
        self, http: HttpConnection, asked: Asked, began: float, *, may_close: bool = False
    ) -> None:
        answer = http.receive(asked.deadline_s + GRACE_S)
        await self._count_http(asked, began, answer, may_close=may_close)

    async def _count_http(
        self,
        asked: Asked,
        began: float,
        answer: Awaitable[tuple[int, bytes]],
        *,
        may_close: bool = False,
    ) -> None:
        reply: ClassifyReply | ServingError | None = None
        status, reason = None, ""
        try:
            status, body = await answer
            reply = read_http(body)
        except NoAnswerError as error:
            if may_close and isinstance(error, BrokenError):
                return
            reason = str(error)
        self._count(asked, Came(began, time.monotonic(), reply, status, reason))

    async def _ask_rpc(
        self, rpc: RpcConnection, asked: Asked, request: ClassifyRequest | None = None
    ) -> None:
        message = self._proto_of(asked) if request is None else request_to_proto(request)
        began = time.monotonic()
        timeout_s = asked.deadline_s if asked.short else asked.deadline_s + GRACE_S
        try:
            reply = await rpc.ask(message, timeout_s, own_deadline=asked.short)
            came = Came(began, time.monotonic(), reply)
        except NoAnswerError as error:
            came = Came(began, time.monotonic(), None, None, str(error))
        self._count(asked, came)

    def _count(self, asked: Asked, came: Came) -> None:
        self.tally.add(asked, *self._judge.judge(asked, came))

    def _asked(
        self,
        what: str,
        service: str,
        images: tuple[int | None, ...],
        *,
        topk: int | None = None,
        deadline_s: float | None = None,
        errors: frozenset[int] = frozenset(),
    ) -> Asked:
        return Asked(
            what,
            service,
            images,
            topk or TOPK[service],
            TIMEOUT_S if deadline_s is None else deadline_s,
            deadline_s is not None,
            errors,
        )

    def _request(self, asked: Asked) -> ClassifyRequest:
        nothing = self._bad_images["text"][0]
        images = [nothing if n is None else self._images.encoded[n] for n in asked.images]
        return ClassifyRequest(encoded(images), asked.service)

    def _envelope_of(self, asked: Asked, headers: tuple[tuple[str, str], ...] = ()) -> HttpMessage:
        body = request_to_json(self._request(asked))
        return HttpMessage(f"/{asked.service}/prediction", body, headers)

    def _either_form_of(self, asked: Asked) -> HttpMessage:
        """Return JSON or bytes, of one image."""
        (number,) = asked.images
        if number is None or self._chance.random() < 0.5:
            return self._envelope_of(asked)
        path = f"/{asked.service}/prediction"
        return HttpMessage(path, self._images.encoded[number], JPEG)

    def _proto_of(self, asked: Asked) -> pb.Request:
        return request_to_proto(self._request(asked))

    def _service(self) -> str:
        return self._chance.choice(list(TOPK))

    def _some(self, count: int) -> tuple[int, ...]:
        return tuple(self._chance.sample(range(len(self._images.encoded)), count))
