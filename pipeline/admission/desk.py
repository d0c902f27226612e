"""The desk: the one way of a request, whatever wire it came over.

    origin ─> key ─> deadline ─> service ─> body, within the in-flight budget ─> read
           ─> images paid from the key's rate ─> classify ─> write

A binding in `web` or `rpc` gives the `Call`, which knows its transport only; a codec in `protocol`
knows the bytes of its wire only. All of it is observed: counted, timed, logged.

Failed requests leave memory here. An exception refers to the frames that it passed (its traceback),
their variables refer to the body and the images, and often to the exception again: a task or future
that ended with it, an observation of it. Such a circle stays in memory until the garbage collector
runs, which under load is hundreds of bodies later. So the desk, where every exception of a request
ends, cuts it off from its frames; nothing else need care.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, TypeVar

from protocol.codec import Codec, Hints, NotQuick
from protocol.errors import DeadlineExceeded, PredictionFailed, ServiceClosed, ServingError
from protocol.reply import ClassifyReply
from protocol.request import ClassifyRequest

from ..observation.observer import Observation, Observer
from ..stages.work import estimated_megapixels
from .call import Call, CallerLeft
from .deadline import Deadline
from .inflight import Inflight, Reservation
from .key_ring import KeyRing
from .offload import Lane, ParsingQueue
from .origins import check_origin
from .running import RunningRequests
from .services import Services

logger = logging.getLogger(__name__)

# The work of so many bytes of images is estimated within a millisecond.
_QUICK_BYTES = 2 * 2**20
# A reply of so many is written within a millisecond.
_QUICK_CATEGORIES = 200
_CATEGORY_BYTES = 80
_Result = TypeVar("_Result")
_Error = TypeVar("_Error", bound=BaseException)


class Reply(NamedTuple):
    """The bytes of a reply, and the error that they report; None: the request was answered."""

    body: bytes
    error: Exception | None = None


class Desk:
    """Answers calls to `services`, for callers who have one of `keys`.

    Args:
        services: the services of this process.
        observer: observes every request.
        inflight: the budget of bytes that all requests share.
        keys: the API keys; without any, all callers are admitted.
        cors_origins: origins whose pages may send requests from a browser; "*" is all.
        running: the requests of all transports; it says when a stop cuts them off.
    """

    def __init__(
        self,
        services: Services,
        observer: Observer,
        inflight: Inflight,
        *,
        keys: KeyRing | None = None,
        cors_origins: Sequence[str] = (),
        running: RunningRequests | None = None,
    ) -> None:
        self.services = services
        self.observer = observer
        self.keys = keys or KeyRing()
        self.cors_origins = tuple(cors_origins)
        self.running = RunningRequests() if running is None else running
        self.inflight = inflight
        # Half: a backlog of parsing never takes all of the budget.
        self.parsing = ParsingQueue(inflight.limit // 2)

    async def answer(self, call: Call, codec: Codec) -> Reply:
        """Return the reply to `call`, also where it is an error.

        Raises:
            CallerLeft: the caller does not wait for a reply any more.
            CancelledError: as CallerLeft, where the transport cancels the task. While a stop cuts
                off what is left, the reply to a task that is cancelled is ServiceClosed.
        """
        trace_parent = call.headers.get("traceparent")
        with (
            self.observer.request(call.wire, call.client, trace_parent) as observation,
            self.inflight.reservation() as reservation,
        ):
            try:
                return Reply(await self._answer(call, codec, observation, reservation))
            except CallerLeft as left:
                observation.failed(left.reason or asyncio.CancelledError())
                raise _without_frames(left) from None
            except asyncio.CancelledError as cancelled:
                if not self.running.is_cutting:
                    raise _without_frames(cancelled) from None
                cut = ServiceClosed("the service was stopped before it replied; send it again")
                observation.failed(cut)
                return Reply(codec.error(cut), cut)
            except Exception as error:
                if not isinstance(error, ServingError):
                    logger.error("a request over %s failed", call.wire, exc_info=error)
                observation.failed(error)
                return Reply(codec.error(error), _without_frames(error))

    async def _answer(
        self, call: Call, codec: Codec, observation: Observation, reservation: Reservation
    ) -> bytes:
        observation.found(self.services.presumed(call.service))
        self.services.admit(call.began)
        # Before anything of the body is read: refusing must cost next to nothing.
        if call.from_browsers:
            check_origin(call.headers, self.cors_origins)
        caller = self.keys.admit(
            call.headers.get("authorization"),
            call.headers.get("x-api-key"),
            on_owner=observation.identified,
        )
        timeout_s = self.services.timeout_s(call.service)
        sender = caller or call.client
        lane = self.parsing.lane(sender, call.service or "", reservation, timeout_s)
        request, deadline = await self._read(call, codec, observation, lane)
        self.keys.spend(caller, len(request.images))
        works = await _works(call, request, lane, deadline)
        classifying = self.services.classify(request, deadline.remaining_s(), works)
        try:
            reply = await _unless_left(call, classifying)
        except DeadlineExceeded:
            if deadline.is_over:  # the engine knows what was left for it only
                raise deadline.unanswered() from None
            raise
        written = functools.partial(_written, reply, request, codec)
        categories = reply.categories()
        if categories <= _QUICK_CATEGORIES:
            return written()
        return await deadline.within(lane.run(_CATEGORY_BYTES * categories, written), "to answer")

    async def _read(
        self, call: Call, codec: Codec, observation: Observation, lane: Lane
    ) -> tuple[ClassifyRequest, Deadline]:
        """Return the request, and the deadline of its reply."""
        deadline, options = call.deadline(), call.options
        service = None if call.service is None else self._require(call.service, observation)
        body = await call.receive(deadline, lane)
        arrived = time.monotonic() if lane.arrived is None else lane.arrived
        deadline = deadline.sooner(lane.timeout_s, arrived)
        in_time = functools.partial(_in_time, call, lane, body)
        if service is None:
            hints = Hints(max_images=self.services.max_images)
            service = self._require(await in_time(codec.service_in, hints, deadline), observation)
            deadline = deadline.sooner(self.services.timeout_s(service), arrived)
        lane.reservation.add(codec.extra_bytes(body))
        hints = Hints(service, call.content_type, options, self.services.max_images)
        request = await in_time(codec.read, hints, deadline)
        observation.read(request)
        return request, deadline

    def _require(self, name: str, observation: Observation) -> str:
        observation.found(None)
        service = self.services.require(name)
        observation.found(service)
        return service


async def _in_time(
    call: Call,
    lane: Lane,
    body: bytes,
    read: Callable[[bytes, Hints], _Result],
    hints: Hints,
    deadline: Deadline,
) -> _Result:
    """Return what `read` makes of `body`: on the event loop where it is quick, else in `lane`."""
    try:
        return read(body, hints.quickly())
    except NotQuick:
        reading = lane.run(len(body), functools.partial(read, body, hints))
        return await deadline.within(_unless_left(call, reading), "to arrive and to be parsed")


async def _works(
    call: Call, request: ClassifyRequest, lane: Lane, deadline: Deadline
) -> Sequence[float] | None:
    """Return the estimated work of each image, where it is not estimated quickly."""
    images = [image.data for image in request.images]
    size = sum(map(len, images))
    if size <= _QUICK_BYTES:
        return None
    estimating = lane.run(size, lambda: [estimated_megapixels(image) for image in images])
    return await deadline.within(_unless_left(call, estimating), "to be looked at")


def _written(reply: ClassifyReply, request: ClassifyRequest, codec: Codec) -> bytes:
    """Return the bytes of `reply`.

    Raises:
        PredictionFailed: it cannot be written: a user's own classifier may have made labels that
            are no text.
    """
    try:
        return codec.write(reply, request)
    except Exception as error:
        logger.error("a reply cannot be written", exc_info=error)
        raise PredictionFailed(
            "the classifier's answer is no text; see the service's log"
        ) from None


async def _unless_left(call: Call, work: Coroutine[Any, Any, _Result]) -> _Result:
    """Await `work`, but cancel it when the caller leaves.

    Raises:
        CallerLeft: the caller has left.
    """
    departure = call.departure()
    if departure is None:
        return await work
    running = asyncio.ensure_future(work)
    left = asyncio.ensure_future(departure)
    left.add_done_callback(functools.partial(_cancel, running))
    try:
        return await running
    except asyncio.CancelledError:
        if left.done() and not left.cancelled():
            raise CallerLeft from None
        raise
    finally:
        left.cancel()


def _cancel(running: asyncio.Future[Any], _left: object) -> None:
    running.cancel()


def _without_frames(error: _Error) -> _Error:
    """Return `error`, cut off from the frames that it and its causes passed; see the module."""
    rest: list[BaseException | None] = [error]
    seen: set[int] = set()
    while rest:
        link = rest.pop()
        if link is not None and id(link) not in seen:
            seen.add(id(link))
            link.__traceback__ = None
            rest += [link.__cause__, link.__context__]
    return error
