"""The one way of a request, on a transport and a wire that exist in this test only."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Awaitable, Iterator, Mapping
from typing import Any

import pytest

from pipeline.admission.call import CallerLeft
from pipeline.admission.deadline import Deadline
from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.key_ring import KeyRing
from pipeline.admission.offload import Lane
from pipeline.admission.services import Services
from pipeline.observation.metrics import Metrics
from pipeline.observation.observer import Observer
from pipeline.settings.api_keys import parse_api_keys
from protocol.codec import Codec, Hints, NotQuick
from protocol.errors import (
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    Overloaded,
    PredictionFailed,
    RateLimited,
    ServiceClosed,
    ServiceNotFound,
    ServingError,
    TooLarge,
    Unauthenticated,
    wire_codes,
)
from protocol.reply import Category, ClassifyReply
from protocol.request import ClassifyRequest, encoded
from tests.patience import PATIENCE_S

LIMIT = 1000
KEY = "0123456789abcdef"


class LinesCodec(Codec):
    """One image a line, after a line with the service's name; errors are their numbers."""

    def service_in(self, body: bytes, _hints: Hints) -> str:
        return body.partition(b"\n")[0].decode()

    def extra_bytes(self, body: bytes) -> int:
        return 2 * LIMIT if b"huge" in body else 0

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        images = body.split(b"\n")[1:]
        if not images:
            raise InvalidRequest("no line")
        return ClassifyRequest(encoded(images), hints.service, form=hints.options.get("form", ""))

    def write(self, reply: ClassifyReply, request: ClassifyRequest) -> bytes:
        if request.form == "fails":
            raise UnicodeError("no text")
        return b"\n".join(str(result).encode() for result in reply.results)

    def error(self, error: BaseException) -> bytes:
        return str(wire_codes(error).err_no).encode()


class LinesCall:
    wire = "lines"
    client = "here"
    began = 0.0
    content_type = ""

    def __init__(self, body: bytes | BaseException, **fields: Any) -> None:
        self.body = body
        self.headers: Mapping[str, str] = fields.get("headers", {})
        self.from_browsers = fields.get("from_browsers", False)
        self.service: str | None = fields.get("service")
        self.options: Mapping[str, str] = fields.get("options", {})
        self.left: asyncio.Event | None = fields.get("left")
        self.seconds: float | None = fields.get("seconds")
        self.received = False
        self.mark: object = None

    def deadline(self) -> Deadline:
        return Deadline(self.seconds)

    async def receive(self, deadline: Deadline, lane: Lane) -> bytes:
        self.received = True
        if isinstance(self.body, BaseException):
            raise self.body
        lane.reservation.add(len(self.body))
        return self.body

    def departure(self) -> Awaitable[object] | None:
        return None if self.left is None else self.left.wait()


@pytest.fixture
def desk(services: Services, observer: Observer) -> Desk:
    return Desk(services, observer, Inflight(LIMIT))


def outcomes(metrics: Metrics) -> list[str]:
    """Return the outcomes of requests over the test's wire."""
    return [
        sample.labels["outcome"]
        for family in metrics.registry.collect()
        if family.name == "serving_requests"
        for sample in family.samples
        if sample.labels["protocol"] == "lines" and sample.value
    ]


async def test_a_wire_of_its_own_needs_a_codec_and_a_call(desk: Desk) -> None:
    reply = await desk.answer(LinesCall(b"waste\ncat\ndog"), LinesCodec())
    assert reply.error is None
    assert b"label='cat'" in reply.body
    assert b"label='dog'" in reply.body


@pytest.mark.parametrize("service", [None, "waste"])
async def test_a_body_counts_once_in_the_budget(desk: Desk, service: str | None) -> None:
    call = LinesCall(b"waste\n" + bytes(LIMIT * 2 // 3), service=service)
    assert (await desk.answer(call, LinesCodec())).error is None


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (LinesCall(b"peach\ncat"), ServiceNotFound),
        (LinesCall(b"waste"), InvalidRequest),
        (LinesCall(b"waste\nbad"), ServingError),
        (LinesCall(b"waste\n" + bytes(2 * LIMIT)), Overloaded),
        (LinesCall(b"waste\nhuge"), Overloaded),
        (LinesCall(b"waste\ncat", options={"form": "fails"}), PredictionFailed),
        (LinesCall(TooLarge("too large"), service="waste"), TooLarge),
        (LinesCall(RuntimeError("a fault")), RuntimeError),
    ],
)
async def test_every_error_is_a_reply_of_the_wire(
    desk: Desk, call: LinesCall, error: type[Exception]
) -> None:
    reply = await desk.answer(call, LinesCodec())
    assert isinstance(reply.error, error)
    assert int(reply.body) == wire_codes(reply.error).err_no


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (LinesCall(b"", from_browsers=True, headers={"origin": "https://a.example"}), Forbidden),
        (LinesCall(b""), Unauthenticated),
        (LinesCall(b"", headers={"x-api-key": KEY}, service="peach"), ServiceNotFound),
    ],
)
async def test_a_refusal_that_needs_no_body_comes_before_it(
    services: Services, observer: Observer, call: LinesCall, error: type[Exception]
) -> None:
    keys = KeyRing(parse_api_keys(f"app: {KEY}", "here"))
    reply = await Desk(services, observer, Inflight(LIMIT), keys=keys).answer(call, LinesCodec())
    assert isinstance(reply.error, error)
    assert not call.received


async def test_images_are_paid_from_the_rate_of_the_key(
    services: Services, observer: Observer
) -> None:
    text = f"app: {{key: {KEY}, rate: 1, burst: 3}}"
    keys = KeyRing(parse_api_keys(text, "here"), clock=lambda: 0.0)
    desk = Desk(services, observer, Inflight(LIMIT), keys=keys)
    call = LinesCall(b"waste\na\nb", headers={"x-api-key": KEY})
    assert (await desk.answer(call, LinesCodec())).error is None
    assert isinstance((await desk.answer(call, LinesCodec())).error, RateLimited)


def counted(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    return {
        tuple(sample.labels.values()): sample.value
        for family in metrics.registry.collect()
        if family.name == name
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("address", "service"), [("waste", "waste"), (None, "waste"), ("peach", "unknown")]
)
async def test_refused_requests_are_counted_by_service_and_by_the_name_of_their_key(
    services: Services, observer: Observer, metrics: Metrics, address: str | None, service: str
) -> None:
    text = f"app: {{key: {KEY}, rate: 1, burst: 1}}"
    keys = KeyRing(parse_api_keys(text, "here"), clock=lambda: 0.0)
    desk = Desk(services, observer, Inflight(LIMIT), keys=keys)
    page = LinesCall(b"", service=address, from_browsers=True, headers={"origin": "https://a"})
    for call in (
        page,
        LinesCall(b"", service=address),
        LinesCall(b"", service=address, headers={"x-api-key": "nobody" * 5}),
        LinesCall(b"waste\ncat", service="waste", headers={"x-api-key": KEY}),
        LinesCall(b"waste\ncat", service=address, headers={"x-api-key": KEY}),
    ):
        await desk.answer(call, LinesCodec())
    requests = counted(metrics, "serving_requests")
    for outcome, count in (("forbidden", 1), ("unauthenticated", 2), ("rate_limited", 1)):
        assert requests[(service, "lines", outcome)] == count
    assert counted(metrics, "serving_api_key_requests") == {
        ("unknown", service, "unauthenticated"): 2,
        ("app", "waste", "ok"): 1,
        ("app", service, "rate_limited"): 1,
    }
    assert KEY not in metrics.exposition().decode()


async def test_a_service_that_the_body_names_in_vain_is_unknown(
    desk: Desk, metrics: Metrics
) -> None:
    """Though there is only one, which a request refused earlier would count for."""
    await desk.answer(LinesCall(b"peach\ncat"), LinesCodec())
    assert counted(metrics, "serving_requests") == {("unknown", "lines", "service_not_found"): 1}
    assert counted(metrics, "serving_api_key_requests") == {}


async def test_a_stop_refuses_what_begins_later_and_answers_what_began_before(
    desk: Desk, services: Services
) -> None:
    before, later = LinesCall(b"\na", service="waste"), LinesCall(b"\na", service="waste")
    before.began = time.monotonic()
    services.phase = "stopping"
    later.began = time.monotonic()
    assert (await desk.answer(before, LinesCodec())).error is None
    assert isinstance((await desk.answer(later, LinesCodec())).error, ServiceClosed)
    assert not later.received


async def test_a_call_that_a_stop_cuts_off_gets_the_error_of_its_wire(
    desk: Desk, engine: Any
) -> None:
    engine.release = asyncio.Event()
    task = asyncio.create_task(desk.answer(LinesCall(b"\na", service="waste"), LinesCodec()))
    desk.running.begin(task, task.cancel)
    while not engine.requests:
        await asyncio.sleep(0)
    assert not await desk.running.ended(0)
    desk.running.cut()
    assert (await task).body == b"3001"
    assert engine.cancelled == 1
    assert desk.running.cut_off == 1


async def test_a_deadline_that_has_passed_is_not_computed(desk: Desk, engine: Any) -> None:
    reply = await desk.answer(LinesCall(b"waste\ncat", seconds=-1.0), LinesCodec())
    assert isinstance(reply.error, DeadlineExceeded)
    assert engine.requests == []


async def test_a_caller_that_leaves_abandons_its_images(
    desk: Desk, engine: Any, metrics: Metrics
) -> None:
    engine.release = asyncio.Event()
    left = asyncio.Event()
    task = asyncio.ensure_future(desk.answer(LinesCall(b"waste\ncat", left=left), LinesCodec()))
    while not engine.requests:
        await asyncio.sleep(0)
    left.set()
    with pytest.raises(CallerLeft):
        await asyncio.wait_for(task, PATIENCE_S)
    assert engine.cancelled == 1
    assert outcomes(metrics) == ["abandoned"]


@pytest.mark.parametrize(
    ("left", "outcome"), [(CallerLeft(), "abandoned"), (CallerLeft(TooLarge("x")), "too_large")]
)
async def test_a_body_that_never_comes_has_no_reply(
    desk: Desk, metrics: Metrics, left: CallerLeft, outcome: str
) -> None:
    with pytest.raises(CallerLeft):
        await desk.answer(LinesCall(left), LinesCodec())
    assert outcomes(metrics) == [outcome]


class Mark:
    """Says when it is freed."""

    def __init__(self, freed: list[bool]) -> None:
        self._freed = freed

    def __del__(self) -> None:
        self._freed.append(True)


@pytest.fixture
def no_collector() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_collector")
@pytest.mark.parametrize("fault", ["read", "engine", "cancelled", "left"])
async def test_a_failed_request_is_freed_at_once(desk: Desk, engine: Any, fault: str) -> None:
    freed: list[bool] = []
    call = LinesCall(b"waste" if fault == "read" else b"waste\ncat")
    call.mark = Mark(freed)
    if fault == "engine":
        engine.error = Overloaded("full")
    elif fault in ("cancelled", "left"):
        engine.release, call.left = asyncio.Event(), asyncio.Event()
    left, task = call.left, asyncio.ensure_future(desk.answer(call, LinesCodec()))
    del call
    if left is not None:
        while not engine.requests:
            await asyncio.sleep(0)
        left.set() if fault == "left" else task.cancel()
    await asyncio.wait((task,))  # awaited, Python 3.10 would keep its exception in this frame
    assert task.cancelled() or task.exception() or task.result().error
    del task
    await asyncio.sleep(0)  # the loop lets go of the task's last step
    assert freed == [True]


class SlowCodec(LinesCodec):
    """Reads in a thread only, when the test lets it."""

    def __init__(self) -> None:
        self.begun = 0
        self.release = threading.Event()

    def read(self, body: bytes, hints: Hints) -> ClassifyRequest:
        if hints.quick:
            raise NotQuick
        self.begun += 1
        self.release.wait(PATIENCE_S)
        return super().read(body, hints)


@pytest.fixture
def slow() -> Iterator[SlowCodec]:
    codec = SlowCodec()
    yield codec
    codec.release.set()


async def _begun(codec: SlowCodec) -> None:
    while not codec.begun:
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("whose", ["caller", "service"])
async def test_a_deadline_covers_parsing_though_its_thread_goes_on(
    services: Services, observer: Observer, engine: Any, slow: SlowCodec, whose: str
) -> None:
    budget = Inflight(LIMIT)
    engine.timeout_s = 0.05 if whose == "service" else 60
    call = LinesCall(b"waste\ncat", seconds=0.05 if whose == "caller" else None)
    reply = await Desk(services, observer, budget).answer(call, slow)
    assert isinstance(reply.error, DeadlineExceeded)
    assert str(reply.error) == (
        "the request took longer to arrive and to be parsed than its 0.05 s"
    )
    assert budget.reserved > 0
    slow.release.set()
    while budget.reserved:
        await asyncio.sleep(0.001)
    assert engine.requests == []


async def test_what_parsing_has_used_of_a_deadline_is_missing_for_the_engine(
    desk: Desk, engine: Any, slow: SlowCodec
) -> None:
    engine.timeout_s = 50.0
    task = asyncio.ensure_future(desk.answer(LinesCall(b"waste\ncat"), slow))
    await _begun(slow)
    await asyncio.sleep(0.02)
    slow.release.set()
    assert (await task).error is None
    assert engine.requests[0]["timeout_s"] < 49.99


async def test_a_body_whose_caller_has_left_is_never_parsed(
    desk: Desk, slow: SlowCodec, metrics: Metrics
) -> None:
    first = asyncio.ensure_future(desk.answer(LinesCall(b"waste\ncat"), slow))
    await _begun(slow)
    left = asyncio.Event()
    second = asyncio.ensure_future(desk.answer(LinesCall(b"waste\ncat", left=left), slow))
    while not desk.parsing.jobs:
        await asyncio.sleep(0)
    left.set()
    with pytest.raises(CallerLeft):
        await asyncio.wait_for(second, PATIENCE_S)
    assert desk.parsing.jobs == 0
    slow.release.set()
    assert (await first).error is None
    assert slow.begun == 1
    assert sorted(outcomes(metrics)) == ["abandoned", "ok"]


async def test_a_long_reply_is_written_in_a_thread(
    desk: Desk, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    class Watched(LinesCodec):
        def write(self, reply: ClassifyReply, request: ClassifyRequest) -> bytes:
            threads.append(threading.current_thread().name)
            return super().write(reply, request)

    counts = [10_000, 1]

    async def classify(*_arguments: Any, **_options: Any) -> Any:
        return [(Category(1, "cat", 0.5),) * counts.pop()]

    monkeypatch.setattr(engine, "classify", classify)
    while counts:
        assert (await desk.answer(LinesCall(b"waste\ncat"), Watched())).error is None
    assert [name.startswith("parse") for name in threads] == [False, True]


async def test_the_work_of_large_images_is_estimated_in_a_thread(
    desk: Desk, engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = []

    def estimated(image: bytes) -> float:
        threads.append(threading.current_thread().name)
        return float(len(image))

    monkeypatch.setattr("pipeline.admission.desk.estimated_megapixels", estimated)
    monkeypatch.setattr("pipeline.admission.desk._QUICK_BYTES", 100)
    large = b"waste\n" + b"c" * 101
    assert (await desk.answer(LinesCall(large), LinesCodec())).error is None
    assert engine.requests[-1]["works"] == [101.0]
    assert [name.startswith("parse") for name in threads] == [True]
    # Of small ones the engine does it at once.
    assert (await desk.answer(LinesCall(b"waste\ncat"), LinesCodec())).error is None
    assert engine.requests[-1]["works"] is None
    assert len(threads) == 1
