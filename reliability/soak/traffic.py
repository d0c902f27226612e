"""Callers of every kind, well-behaved and not; the judge gets the outcome of each request."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable

from protocol.errors import ServingError
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value.request import request_to_proto
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest, encoded

from ..bad_input import bad_followers, bad_images, bad_messages
from ..images import KnownImages
from ..wire import (
    BrokenError,
    HttpConnection,
    HttpMessage,
    NoReplyError,
    RpcConnection,
    read_http,
)
from .judge import Judge, Outcome, SentRequest, Verdict
from .messages import JPEG, Messages
from .service_files import MAX_BODY_MB, SERVICES, TIMEOUT_S
from .tally import Tally

# The service replies within its deadline; the way there and back takes some time more.
GRACE_S = 5.0
MEAN_PAUSE_S = 0.12
TOPK = {name: topk for name, _, topk in SERVICES}


class Traffic:
    """Sends requests to the ports of one service process until `stop`."""

    def __init__(
        self, ports: tuple[int, int], images: KnownImages, judge: Judge, chance: random.Random
    ) -> None:
        """`ports` are those of HTTP and RPC."""
        self.tally = Tally()
        self._http_port, self._rpc_port = ports
        self._images = images
        self._judge = judge
        self._chance = chance
        self._stop = asyncio.Event()
        self._bad_images = bad_images(images.encoded[-1])
        self._messages = Messages(images, self._bad_images["text"][0])
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
        """Run `callers` callers at once, until `stop`."""
        await asyncio.gather(*(self._caller() for _ in range(callers)))

    def stop(self) -> None:
        """Let each caller end after its request."""
        self._stop.set()

    def resume(self) -> None:
        """Allow `run` again."""
        self._stop.clear()

    async def burst(self, service: str, requests: int = 40, each: int = 6) -> None:
        """Send far more images at once than may wait in the queue."""

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
        kind = "HTTP, JSON" if count == 1 else "HTTP, JSON, several"
        await self._send_envelope(http, self._service(), self._some(count), kind)

    async def _raw(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(1)
        topk = self._chance.randint(1, TOPK[service])
        request = self._request("HTTP, bytes", service, numbers, topk=topk)
        await self._over_http(http, self._messages.raw(request, f"?topk={topk}"), request)

    async def _form(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(self._chance.choice((1, 3)))
        request = self._request("HTTP, form", service, numbers)
        await self._over_http(http, self._messages.form(request), request)

    async def _pipelined(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        """Send several requests at once on one connection; the replies come in their order."""
        requests = [
            self._request("HTTP, pipelined", self._service(), self._some(1))
            for _ in range(self._chance.choice((2, 3, 5, 8)))
        ]
        content = b"".join(self._either_form(request).encoded() for request in requests)
        began = time.monotonic()
        await self._send(http, content)
        for request in requests:
            await self._receive(http, request, began)

    async def _pipelined_with_garbage(self, _http: HttpConnection, _rpc: RpcConnection) -> None:
        """Send a request and garbage right behind it: the request must have its normal reply."""
        http = HttpConnection(self._http_port)
        request = self._request("HTTP, garbage behind it", self._service(), self._some(1))
        followers = bad_followers(self._images.encoded[0])
        name = self._chance.choice(list(followers))
        garbage, errors = followers[name]
        began = time.monotonic()
        await self._send(http, self._either_form(request).encoded() + garbage)
        await self._receive(http, request, began)
        bad = self._request(f"behind a request: {name}", request.service, (), errors=errors)
        # The connection may be closed without another reply, but not left open.
        await self._receive(http, bad, began, may_close=True)
        await http.close()

    async def _rpc(self, _http: HttpConnection, rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(self._chance.choice((1, 1, 1, 4)))
        kind = "RPC" if len(numbers) == 1 else "RPC, several"
        await self._over_rpc(rpc, self._request(kind, service, numbers))

    async def _one_bad_among_good(self, http: HttpConnection, rpc: RpcConnection) -> None:
        service, numbers = self._service(), list[int | None](self._some(3))
        numbers.insert(self._chance.randint(0, 3), None)
        request = self._request("one bad image among good ones", service, tuple(numbers))
        if self._chance.random() < 0.5:
            await self._over_http(http, self._messages.envelope(request), request)
        else:
            await self._over_rpc(rpc, request)

    async def _bad_image(self, http: HttpConnection, rpc: RpcConnection) -> None:
        service = self._service()
        name = self._chance.choice(list(self._bad_images))
        data, errors = self._bad_images[name]
        request = self._request(f"bad image: {name}", service, (None,), errors=errors)
        if self._chance.random() < 0.5:
            message = HttpMessage(f"/{service}/prediction", data, JPEG)
            await self._over_http(http, message, request)
        else:
            sent = ClassifyRequest(encoded([data]), service)
            await self._over_rpc(rpc, request, request_to_proto(sent))

    async def _bad_message(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        service = self._service()
        messages = bad_messages(service, self._images.encoded[self._some(1)[0]], MAX_BODY_MB)
        name = self._chance.choice(list(messages))
        message, errors = messages[name]
        request = self._request(f"bad request: {name}", service, (), errors=errors)
        await self._over_http(http, message, request)

    async def _hurried(self, http: HttpConnection, rpc: RpcConnection) -> None:
        service, numbers = self._service(), self._some(self._chance.choice((1, 4)))
        deadline_s = self._chance.choice((0.005, 0.03, 0.1, 0.5))
        request = self._request("a deadline of its own", service, numbers, deadline_s=deadline_s)
        if self._chance.random() < 0.5:
            header = (("X-Request-Timeout", str(deadline_s)),)
            await self._over_http(http, self._messages.envelope(request, header), request)
        else:
            await self._over_rpc(rpc, request)

    async def _slow_sender(self, http: HttpConnection, _rpc: RpcConnection) -> None:
        request = self._request("slow sender", self._service(), self._some(1))
        await self._over_http(http, self._messages.envelope(request), request, pause_s=0.2)

    async def _gone(self, _http: HttpConnection, rpc: RpcConnection) -> None:
        request = self._request("caller that goes away", self._service(), self._some(2))
        way = self._chance.choice(("half sent", "sent", "while reading", "cancelled"))
        if way == "cancelled":
            await rpc.abandon(self._messages.proto(request), self._chance.uniform(0, 0.05))
        else:
            http = HttpConnection(self._http_port)
            sent = self._chance.random() if way == "half sent" else 1.0
            message = self._messages.envelope(request)
            await http.abandon(message, sent, 10 if way == "while reading" else 0)
        self.tally.add(request, Verdict.GONE, way)

    # --- how it is sent --------------------------------------------------------------------------

    async def _send_envelope(
        self, http: HttpConnection, service: str, numbers: tuple[int, ...], kind: str
    ) -> None:
        request = self._request(kind, service, numbers)
        await self._over_http(http, self._messages.envelope(request), request)

    async def _over_http(
        self, http: HttpConnection, message: HttpMessage, request: SentRequest, pause_s: float = 0.0
    ) -> None:
        began = time.monotonic()
        reply = http.exchange(message, request.deadline_s + GRACE_S, pause_s)
        await self._count_http(request, began, reply)

    async def _send(self, http: HttpConnection, content: bytes) -> None:
        with contextlib.suppress(NoReplyError):  # `_receive` finds the same fault and counts it
            await http.send(content, GRACE_S)

    async def _receive(
        self, http: HttpConnection, request: SentRequest, began: float, *, may_close: bool = False
    ) -> None:
        reply = http.receive(request.deadline_s + GRACE_S)
        await self._count_http(request, began, reply, may_close=may_close)

    async def _count_http(
        self,
        request: SentRequest,
        began: float,
        coming: Awaitable[tuple[int, bytes]],
        *,
        may_close: bool = False,
    ) -> None:
        reply: ClassifyReply | ServingError | None = None
        status, reason = None, ""
        try:
            status, body = await coming
            reply = read_http(body)
        except NoReplyError as error:
            if may_close and isinstance(error, BrokenError):
                return
            reason = str(error)
        self._count(request, Outcome(began, time.monotonic(), reply, status, reason))

    async def _over_rpc(
        self, rpc: RpcConnection, request: SentRequest, message: pb.Request | None = None
    ) -> None:
        message = self._messages.proto(request) if message is None else message
        began = time.monotonic()
        timeout_s = request.deadline_s if request.short else request.deadline_s + GRACE_S
        try:
            reply = await rpc.exchange(message, timeout_s, own_deadline=request.short)
            outcome = Outcome(began, time.monotonic(), reply)
        except NoReplyError as error:
            outcome = Outcome(began, time.monotonic(), None, None, str(error))
        self._count(request, outcome)

    def _count(self, request: SentRequest, outcome: Outcome) -> None:
        self.tally.add(request, *self._judge.judge(request, outcome))

    def _request(
        self,
        kind: str,
        service: str,
        images: tuple[int | None, ...],
        *,
        topk: int | None = None,
        deadline_s: float | None = None,
        errors: frozenset[int] = frozenset(),
    ) -> SentRequest:
        return SentRequest(
            kind,
            service,
            images,
            topk or TOPK[service],
            TIMEOUT_S if deadline_s is None else deadline_s,
            deadline_s is not None,
            errors,
        )

    def _either_form(self, request: SentRequest) -> HttpMessage:
        """Return JSON or bytes, of one image."""
        if self._chance.random() < 0.5:
            return self._messages.envelope(request)
        return self._messages.raw(request)

    def _service(self) -> str:
        return self._chance.choice(list(TOPK))

    def _some(self, count: int) -> tuple[int, ...]:
        return tuple(self._chance.sample(range(len(self._images.encoded)), count))
