"""The judge of a soak: one that cannot find a mistake would prove nothing."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
import random
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from pipeline.observation.logs import LogWriter
from protocol.errors import (
    DeadlineExceeded,
    InvalidRequest,
    NotReady,
    Overloaded,
    PredictionFailed,
    ServiceClosed,
    ServingError,
    TooLarge,
    UndecodableImage,
)
from protocol.key_value.reply import error_to_json, reply_to_json
from protocol.reply import Category, ClassifyReply, ImageResult
from reliability.attack.alone import SHORT
from reliability.attack.judge import SPARE_MIB as SPARE_OF_AN_ATTACK
from reliability.attack.judge import memory_bound_mib
from reliability.attack.table import ATTACKS
from reliability.images import KnownImages
from reliability.soak.faults import attack_complaints
from reliability.soak.judge import BURST, HANG, KILL, Judge, Outcome, SentRequest, Verdict
from reliability.soak.report import (
    HEALTH_LATE_MS,
    HEALTH_LIMIT_MS,
    SPARE_DESCRIPTORS,
    SPARE_MIB,
    Report,
)
from reliability.soak.tally import Tally
from reliability.soak.timeline import Generation, Timeline
from reliability.soak.traffic import Traffic
from reliability.soak.watch import Size, Watch, slope_a_minute
from reliability.traces import stack_traces
from reliability.wire import BrokenError, HttpConnection, RpcConnection

SCORES = [[0.5, 0.3, 0.2], [0.1, 0.3, 0.6], [0.2, 0.7, 0.1]]


@pytest.fixture
def timeline() -> Timeline:
    return Timeline()


@pytest.fixture
def judge(timeline: Timeline) -> Judge:
    return Judge(SCORES, timeline, retries=1)


def sent(*images: int | None, **more: Any) -> SentRequest:
    fields: dict[str, Any] = {"kind": "a test", "service": "first", "topk": 2, "deadline_s": 5.0}
    return SentRequest(images=images, **{**fields, **more})


def categories(image: int, service: str = "first", generation: int = 0, topk: int = 2) -> Any:
    scores = SCORES[image]
    best = sorted(range(3), key=lambda class_id: -scores[class_id])[:topk]
    return tuple(Category(c, f"{service} {generation} {c}", scores[c]) for c in best)


def outcome(
    reply: ClassifyReply | ServingError | None, status: int | None = 200, seconds: float = 1.0
) -> Outcome:
    return Outcome(100.0, 100.0 + seconds, reply, status, "nothing came" if reply is None else "")


def results(*of_images: ImageResult) -> Outcome:
    return outcome(ClassifyReply(of_images))


def verdict(judge: Judge, request: SentRequest, received: Outcome) -> Verdict:
    return judge.judge(request, received)[0]


def test_right_answers(judge: Judge) -> None:
    assert verdict(judge, sent(0), results(categories(0))) is Verdict.RIGHT
    many = results(categories(2), categories(0), categories(1))
    assert verdict(judge, sent(2, 0, 1), many) is Verdict.RIGHT
    bad_one = results(categories(2), UndecodableImage("text"))
    assert verdict(judge, sent(2, None), bad_one) is Verdict.RIGHT
    assert verdict(judge, sent(1, topk=3), results(categories(1, topk=3))) is Verdict.RIGHT


def test_answers_of_others_are_found(judge: Judge) -> None:
    for request, reply in (
        (sent(0), results(categories(1))),
        (sent(0, 1), results(categories(1), categories(0))),
        (sent(0), results(categories(0, "second"))),
    ):
        assert verdict(judge, request, reply) is Verdict.MIXED_UP


def test_wrong_answers_are_found(judge: Judge) -> None:
    (best, second) = categories(0)
    for request, reply in (
        (sent(0), results((Category(0, "first 0 0", 0.51), second))),
        (sent(0), results((second, best))),
        (sent(0), results((best,))),
        (sent(0), results()),
        (sent(0), results(categories(0), categories(0))),
        (sent(0), results((Category(0, "first 0 1", 0.5), second))),
        (sent(0), results(categories(0, generation=1))),
        (sent(None), results(categories(0))),
        (sent(0), outcome(ClassifyReply((categories(0),)), 500)),
    ):
        assert verdict(judge, request, reply) is Verdict.WRONG, reply


def test_no_answer_is_lost(judge: Judge) -> None:
    assert judge.judge(sent(0), outcome(None)) == (Verdict.LOST, "nothing came")


def test_labels_of_a_reload_that_was_over_are_found(judge: Judge, timeline: Timeline) -> None:
    timeline.generations[0].until = 90.0
    timeline.generations.append(Generation(1, 80.0))
    assert verdict(judge, sent(0), results(categories(0, generation=1))) is Verdict.RIGHT
    assert verdict(judge, sent(0), results(categories(0))) is Verdict.WRONG
    timeline.generations[0].until = 100.5  # both may be seen while it is changed
    assert verdict(judge, sent(0), results(categories(0))) is Verdict.RIGHT


def test_the_error_of_a_wrong_request_must_be_the_right_one(judge: Judge) -> None:
    wrong = sent(errors=frozenset({5002}))
    assert verdict(judge, wrong, outcome(TooLarge("large"), 413)) is Verdict.RIGHT_ERROR
    assert verdict(judge, wrong, outcome(TooLarge("large"), 400)) is Verdict.UNEXPECTED
    assert verdict(judge, wrong, outcome(UndecodableImage("no"), 400)) is Verdict.UNEXPECTED
    assert verdict(judge, wrong, results()) is Verdict.UNEXPECTED


@pytest.mark.parametrize(
    ("error", "status", "kind", "seconds"),
    [
        (Overloaded("full"), 429, BURST, 1.0),
        (Overloaded("full"), 429, KILL, 1.0),
        (NotReady("no worker is up"), 503, KILL, 0.1),
        (DeadlineExceeded("late"), 504, HANG, 4.9),
    ],
)
def test_errors_need_a_reason(
    judge: Judge, timeline: Timeline, error: ServingError, status: int, kind: str, seconds: float
) -> None:
    reply = outcome(error, status, seconds)
    assert verdict(judge, sent(0), reply) is Verdict.UNEXPECTED
    with timeline.event(kind, "second") as event:
        event.began = 99.0
    event.ended = 101.0
    assert verdict(judge, sent(0), reply) is Verdict.UNEXPECTED  # another's trouble
    event.service = "first"
    assert verdict(judge, sent(0), reply) is Verdict.RIGHT_ERROR
    event.began = event.ended = 50.0
    assert verdict(judge, sent(0), reply) is Verdict.UNEXPECTED


def test_a_deadline_must_be_over_before_it_is_called_missed(
    judge: Judge, timeline: Timeline
) -> None:
    with timeline.event(HANG, "first") as event:
        event.began = 99.0
    event.ended = 110.0
    early = outcome(DeadlineExceeded("late"), 504, 1.0)
    assert verdict(judge, sent(0), early) is Verdict.UNEXPECTED
    hurried = sent(0, short=True, deadline_s=0.1)
    assert verdict(judge, hurried, early) is Verdict.RIGHT_ERROR


@pytest.mark.parametrize("status", [504, None])
def test_a_callers_own_deadline_must_be_over_too(
    judge: Judge, timeline: Timeline, status: int | None
) -> None:
    hurried = sent(0, short=True, deadline_s=0.5)

    def missed(seconds: float) -> Verdict:
        late = DeadlineExceeded("late")
        one = outcome(ClassifyReply((late,)), 200 if status else None, seconds)
        whole = verdict(judge, hurried, outcome(late, status, seconds))
        assert verdict(judge, hurried, one) is whole
        return whole

    assert missed(0.5) is Verdict.RIGHT_ERROR
    assert missed(0.4995) is Verdict.RIGHT_ERROR  # timers round
    for seconds in (0.0, 0.1, 0.45):
        assert missed(seconds) is Verdict.UNEXPECTED
    with timeline.event(HANG, "first") as event:
        event.began = 99.0
    assert missed(0.0) is Verdict.UNEXPECTED  # no trouble makes time go faster


def test_a_request_without_the_time_for_it_may_be_refused_at_once(judge: Judge) -> None:
    hurried = sent(0, short=True, deadline_s=0.005)
    estimate = "the 4 images take 0.01 s at best, and the request has 0.005 s"
    for error, status in ((Overloaded("it has 5 ms"), 429), (DeadlineExceeded(estimate), 504)):
        refused = outcome(error, status, 0.0)
        assert verdict(judge, hurried, refused) is Verdict.RIGHT_ERROR
        assert verdict(judge, sent(0), refused) is Verdict.UNEXPECTED
    too_large = outcome(TooLarge(estimate), 413, 0.0)
    assert verdict(judge, hurried, too_large) is Verdict.UNEXPECTED


def test_a_failed_prediction_takes_more_deaths_than_retries(
    judge: Judge, timeline: Timeline
) -> None:
    failed = outcome(PredictionFailed("the worker died"), 500)
    timeline._deaths["first"] = [100.1]
    assert verdict(judge, sent(0), failed) is Verdict.UNEXPECTED
    timeline._deaths["first"] = [100.1, 100.7]
    assert verdict(judge, sent(0), failed) is Verdict.RIGHT_ERROR


def test_nothing_excuses_a_service_that_has_closed(judge: Judge, timeline: Timeline) -> None:
    with timeline.event(KILL, None) as event:
        event.began = 99.0
    assert verdict(judge, sent(0), outcome(ServiceClosed("stopping"), 503)) is Verdict.UNEXPECTED


def test_growth_is_the_slope_of_the_line() -> None:
    sizes = [Size(30.0 * n, 50 + 2.0 * n, 0, 0) for n in range(10)]
    assert slope_a_minute(sizes) == pytest.approx(4.0)
    assert slope_a_minute(sizes[:1]) == 0


def a_report(timeline: Timeline, **more: Any) -> Report:
    fields: dict[str, Any] = {
        "seconds": 60.0,
        "seed": 1,
        "tally": Tally(),
        "timeline": timeline,
        "watch": Watch(1, 1, health_ms=[1.0] * 600),
        "start": Size(0.0, 50.0, 900.0, 30),
        "end": Size(60.0, 50.0 + SPARE_MIB, 900.0, 30 + SPARE_DESCRIPTORS),
        "counters": {},
        "complaints": [],
    }
    return Report(**{**fields, **more})


def test_growth_of_the_service_process_is_a_problem(timeline: Timeline) -> None:
    assert a_report(timeline).problems == []
    (memory,) = a_report(timeline, end=Size(60.0, 51.0 + SPARE_MIB, 900.0, 30)).problems
    assert "grew by 65 MiB" in memory
    left_open = Size(60.0, 50.0, 900.0, 31 + SPARE_DESCRIPTORS)
    (descriptors,) = a_report(timeline, end=left_open).problems
    assert "9 file descriptors" in descriptors


def test_health_that_comes_late_is_a_problem(timeline: Timeline) -> None:
    def problems(*late_ms: float, in_time: int = 600) -> list[str]:
        watch = Watch(1, 1, health_ms=[1.0] * in_time + list(late_ms))
        return a_report(timeline, watch=watch).problems

    late = HEALTH_LATE_MS + 1
    assert problems(late, late, late, in_time=20) == []  # by chance, as the machine is busy
    assert problems(*[late] * 6) == []
    (often,) = problems(*[late] * 7)
    assert "7 of 607 answers to health" in often
    (stood_still,) = problems(HEALTH_LIMIT_MS + 1)
    assert "took 4001 ms" in stood_still


def test_stack_traces_are_found_where_the_service_writes_them(timeline: Timeline) -> None:
    stream = io.StringIO()
    writer = LogWriter(stream, logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.Logger("pipeline.test")
    logger.addHandler(writer.handler)
    try:
        raise ValueError("unexpected")
    except ValueError as error:
        logger.error("inference failed", exc_info=error)
    logger.warning("worker 1: Traceback (most recent call last):")
    logger.warning("worker 1: C++ Traceback (most recent call last):")  # of our own SIGSEGV
    logger.warning("worker 1: a label may read Traceback")
    writer.close()
    assert stack_traces(stream.getvalue()) == 2
    (problem,) = a_report(timeline, traces=2).problems
    assert "2 stack traces" in problem


def test_an_attack_within_a_soak_is_judged_by_its_memory_and_by_what_it_saw() -> None:
    by_name = {attack.name: attack for attack in ATTACKS}
    assert set(SHORT) <= set(by_name)
    for name in SHORT:
        bound = memory_bound_mib(by_name[name]) + SPARE_OF_AN_ATTACK
        assert attack_complaints(name, bound, b'{"sent": 1, "problems": []}') == []
        (grown,) = attack_complaints(name, bound + 1, b'{"sent": 1, "problems": []}')
        assert f"{name}: the service process grew" in grown
    (seen,) = attack_complaints(SHORT[0], 0, b'{"sent": 1, "problems": ["no reply"]}')
    assert seen.endswith("no reply")
    assert attack_complaints(SHORT[0], 0, b"") == [f"attack: {SHORT[0]}: it broke off"]


@contextlib.asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[int]:
    """Answer whatever comes on a connection with these bytes, and end it; yield the port."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.writelines(answers)
        writer.write_eof()
        while await reader.read(2**16):  # what is left unread would reset the connection
            pass
        writer.close()

    async with await asyncio.start_server(talk, "127.0.0.1") as server:
        yield server.sockets[0].getsockname()[1]


def http_answer(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


async def test_answers_on_one_connection_are_read_in_their_order() -> None:
    async with answering(http_answer(b"one") + http_answer(b"two")) as port:
        http = HttpConnection(port)
        await http.send(b"two requests", 20)
        assert await http.receive(20) == (200, b"one")
        assert await http.receive(20) == (200, b"two")
        for _ in range(2):  # it does not open another connection, on which nothing was sent
            with pytest.raises(BrokenError):
                await http.receive(20)
        await http.close()


async def test_a_sound_request_with_garbage_behind_it_must_be_answered(
    timeline: Timeline,
) -> None:
    images = KnownImages([b"\xff\xd8 an image"], SCORES[:1])
    judge = Judge(images.scores, timeline, retries=1)
    right = http_answer(reply_to_json(ClassifyReply((categories(0, topk=3),))))
    refused = http_answer(error_to_json(InvalidRequest("this is no HTTP")), "400 Bad Request")
    for answers, verdicts in (
        ((right,), {Verdict.RIGHT: 1}),  # and closed
        ((refused,), {Verdict.UNEXPECTED: 1}),
        ((), {Verdict.LOST: 1}),
    ):
        async with answering(*answers) as port:
            traffic = Traffic((port, port), images, judge, random.Random(1))
            traffic._service = lambda: "first"  # type: ignore[method-assign]
            http, rpc = HttpConnection(port), RpcConnection(port)
            await traffic._pipelined_with_garbage(http, rpc)
            await rpc.close()
        assert dict(traffic.tally.verdicts) == verdicts


@pytest.mark.slow
def test_a_short_soak_passes(run_command: Callable[..., str], tmp_path: Path) -> None:
    printed = run_command("soak", "--minutes", "0.3", "--seed", "3")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert report["requests"]["right"] > 50
    assert report["requests"]["lost"] == report["requests"]["mixed_up"] == 0
    assert report["events"]  # how many kinds fit into 18 seconds is the machine's to say
    assert "passed" in printed
