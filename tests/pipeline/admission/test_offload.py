"""The parsing queue: its bounds, its turns, and what becomes of requests that are too late."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import functools
import gc
import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc.aio
import httpx
import pytest

from pipeline.admission.deadline import Deadline
from pipeline.admission.desk import Desk
from pipeline.admission.inflight import Inflight
from pipeline.admission.offload import ParsingQueue
from pipeline.admission.services import Services
from pipeline.observation.observer import Observer
from pipeline.rpc.server import build_rpc_server
from pipeline.web.app import build_http_app
from protocol.errors import DeadlineExceeded, InvalidRequest, Overloaded
from protocol.key_value import pipeline_service_pb2 as pb
from protocol.key_value import pipeline_service_pb2_grpc as pb_grpc
from protocol.key_value.json_body import QUICK_BYTES
from tests.patience import PATIENCE_S

LARGE = base64.b64encode(b"x" * QUICK_BYTES).decode()


async def until(condition: Callable[[], bool]) -> None:
    async def poll() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(poll(), PATIENCE_S)


class Jobs:
    """Jobs that run until they are released; keeps the order in which they began."""

    def __init__(self, queue: ParsingQueue) -> None:
        self.queue = queue
        self.budget = Inflight(10**9)
        self.begun: list[str] = []
        self.release = threading.Event()
        self.tasks: dict[str, asyncio.Task[Any]] = {}

    def send(
        self, name: str, caller: str, *, service: str = "waste", size: int = 1
    ) -> asyncio.Task[Any]:
        async def request() -> str:
            with self.budget.reservation() as reservation:
                reservation.add(size)
                lane = self.queue.lane(caller, service, reservation)
                return await lane.run(size, functools.partial(self._parse, name))

        self.tasks[name] = asyncio.create_task(request(), name=name)
        return self.tasks[name]

    def _parse(self, name: str) -> str:
        self.begun.append(name)
        self.release.wait(PATIENCE_S)
        return name

    async def begun_are(self, *names: str) -> None:
        """Wait until these, and no others, have begun."""
        await until(lambda: len(self.begun) >= len(names))
        assert sorted(self.begun) == sorted(names)

    async def waiting(self, count: int) -> None:
        await until(lambda: self.queue.jobs == count)

    async def all(self) -> list[Any]:
        self.release.set()
        return await asyncio.gather(*self.tasks.values(), return_exceptions=True)


@pytest.fixture
def one() -> Iterator[Jobs]:
    """A queue with one thread, so that the order is certain."""
    jobs = Jobs(ParsingQueue(100, max_jobs=6, threads=1))
    yield jobs
    jobs.release.set()


async def test_the_result_and_the_error_of_the_thread_are_passed_on(one: Jobs) -> None:
    one.release.set()
    assert await one.send("a", "x") == "a"
    with Inflight(9).reservation() as reservation:
        lane = one.queue.lane("x", "waste", reservation)

        def fail() -> None:
            raise InvalidRequest("no image")

        with pytest.raises(InvalidRequest, match="no image"):
            await lane.run(1, fail)
        here = threading.get_ident()
        assert await lane.run(1, threading.get_ident) != here
    assert (one.queue.jobs, one.queue.bytes, one.queue.running) == (0, 0, 0)


async def test_turns_go_round_by_service_and_by_caller(one: Jobs) -> None:
    one.send("first", "many")
    await one.begun_are("first")
    for name in ("a1", "a2", "a3"):
        one.send(name, "many")
    one.send("b1", "few")
    one.send("c1", "many", service="peach")
    await one.waiting(5)
    await one.all()
    # One of each service in turn, and within it one of each caller.
    assert one.begun == ["first", "a1", "c1", "b1", "a2", "a3"]


async def test_a_caller_never_has_all_of_the_threads() -> None:
    jobs = Jobs(ParsingQueue(100, threads=2))
    for number in range(5):
        jobs.send(f"many{number}", "many", service=("waste", "peach")[number % 2])
    await jobs.begun_are("many0")
    await jobs.waiting(4)
    jobs.send("other", "few")
    await jobs.begun_are("many0", "other")
    await jobs.all()
    assert len(jobs.begun) == 6


@pytest.mark.parametrize("by", ["jobs", "bytes"])
async def test_a_full_queue_refuses_the_caller_who_fills_it_most(one: Jobs, by: str) -> None:
    size = 1 if by == "jobs" else 20
    one.send("first", "many")
    await one.begun_are("first")
    count = 6 if by == "jobs" else 5
    for number in range(count):
        one.send(f"many{number}", "many", size=size)
    await one.waiting(count)
    with pytest.raises(Overloaded, match="try again"):
        await one.send("one too many", "many", size=size)
    one.send("other", "few", size=size)  # takes the place of the newest of the other caller
    with pytest.raises(Overloaded):
        await one.tasks[f"many{count - 1}"]
    assert one.queue.jobs == count
    await one.all()
    assert "other" in one.begun
    assert f"many{count - 1}" not in one.begun
    assert one.budget.reserved == 0


async def test_a_job_larger_than_the_queue_waits_alone(one: Jobs) -> None:
    one.send("first", "x")
    await one.begun_are("first")
    one.send("large", "x", size=1000)
    await one.waiting(1)
    with pytest.raises(Overloaded):
        await one.send("another", "x", size=1000)
    await one.all()
    assert one.begun == ["first", "large"]


async def test_what_is_too_late_is_answered_at_once_and_never_begun(one: Jobs) -> None:
    one.send("first", "x")
    await one.begun_are("first")
    late = Deadline(0.05)
    with pytest.raises(DeadlineExceeded, match=r"to be parsed than its 0\.05 s"):
        await late.within(_awaited(one.send("late", "y")), "to arrive and to be parsed")
    await one.waiting(0)
    await one.all()
    assert one.begun == ["first"]


async def _awaited(task: asyncio.Task[Any]) -> Any:
    return await task


async def test_a_cancelled_call_ends_at_once_and_its_bytes_stay_reserved(one: Jobs) -> None:
    running = one.send("running", "x", size=40)
    await one.begun_are("running")
    waiting = one.send("waiting", "x", size=40)
    await one.waiting(1)
    for task in (waiting, running):
        task.cancel()
        await asyncio.wait((task,), timeout=PATIENCE_S)
        assert task.cancelled()
    assert one.budget.reserved == 40  # the thread still has the body
    one.release.set()
    await until(lambda: not one.budget.reserved)
    assert one.begun == ["running"]
    assert one.queue.running == 0


class Body:
    """Says when it is freed."""

    def __init__(self, freed: threading.Event) -> None:
        self._freed = freed

    def __del__(self) -> None:
        self._freed.set()


@pytest.mark.parametrize("fault", [None, ValueError("no")])
async def test_a_body_is_freed_when_its_thread_has_ended(one: Jobs, fault: Any) -> None:
    def parse(_body: Body) -> None:
        if fault is not None:
            raise fault

    freed = threading.Event()
    gc.collect()
    gc.disable()
    try:
        with Inflight(9).reservation() as reservation, contextlib.suppress(ValueError):
            lane = one.queue.lane("x", "waste", reservation)
            await lane.run(1, functools.partial(parse, Body(freed)))
        if fault is not None:
            fault.__traceback__ = None
        assert freed.wait(PATIENCE_S)
    finally:
        gc.enable()


@pytest.mark.parametrize("wire", ["json", "multipart", "raw", "rpc"])
async def test_which_bodies_are_parsed_in_the_threads(
    services: Services, observer: Observer, wire: str
) -> None:
    desk = Desk(services, observer, Inflight(8 * QUICK_BYTES))
    sizes: list[int] = []
    lane = desk.parsing.lane

    def watched(*arguments: Any) -> Any:
        made = lane(*arguments)
        run = made.run

        async def running(size: int, parse: Any) -> Any:
            sizes.append(size)
            return await run(size, parse)

        made.run = running  # type: ignore[method-assign]
        return made

    desk.parsing.lane = watched  # type: ignore[method-assign]
    if wire == "rpc":
        server = build_rpc_server(desk, max_body_bytes=8 * QUICK_BYTES)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            message = pb.Request(name="waste", key=["image"], value=[LARGE])
            assert (await pb_grpc.PipelineServiceStub(channel).inference(message)).err_no == 0
        await server.stop(0)
    else:
        app = build_http_app(desk, max_body_bytes=8 * QUICK_BYTES)
        forms: dict[str, Any] = {
            "json": {"json": {"key": ["image"], "value": [LARGE]}},
            "multipart": {"files": [("a", ("a.jpg", LARGE.encode()))]},
            "raw": {
                "content": b"\xff\xd8\n" + LARGE.encode(),
                "headers": {"Content-Type": "image/jpeg"},
            },
        }
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://test"
        ) as client:
            response = await client.post("/waste/prediction", **forms[wire])
        assert response.status_code == 200
    assert len(sizes) == (wire != "raw")
