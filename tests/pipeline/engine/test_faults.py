"""Workers that die, hang, fail or answer nonsense: every caller gets the right reply."""

from __future__ import annotations

import asyncio
import ctypes
import logging
import os
import resource
import signal

import pytest

from protocol.errors import NotReady, PredictionFailed, UndecodableImage
from protocol.request import encoded
from tests.patience import PATIENCE_S


def classify(engine, *images, topk=None, threshold=None, **options):
    return asyncio.ensure_future(
        asyncio.wait_for(engine.classify(encoded(images, topk, threshold), **options), PATIENCE_S)
    )


def labels(results):
    return [r if isinstance(r, Exception) else r[0].label for r in results]


def pids(engine):
    return [worker.pid for worker in engine.status().workers]


async def all_ready(engine, until):
    await until(lambda: all(worker.state.ready for worker in engine.status().workers))


async def test_sigkill_in_the_middle_of_a_batch_loses_no_request(make_engine, until, batches):
    engine = await make_engine({"delay_s": 0.1, "log": batches.path})
    tasks = [classify(engine, b"echo:%d" % i) for i in range(6)]
    await until(lambda: any(len(batch) > 1 for batch in batches()) or len(batches()) > 1)
    killed = pids(engine)[0]
    os.kill(killed, signal.SIGKILL)
    assert [labels(await task) for task in tasks] == [[f"echo:{i}"] for i in range(6)]
    status = engine.status()
    assert status.workers[0].restarts == 1
    assert "was ended by SIGKILL" in str(status.workers[0].cause)
    assert status.counters.retried >= 1
    assert pids(engine) != [killed]


@pytest.mark.parametrize("poison", [b"die:x", b"segfault:x", b"abort:x", b"exit:x"])
async def test_an_image_that_kills_workers_leaves_its_neighbours_alone(
    make_engine, until, batches, poison
):
    engine = await make_engine({"log": batches.path})
    blocker = classify(engine, b"sleep:0.4")
    await until(lambda: engine.status().workers[0].state == "busy")
    images = [b"echo:a", poison, b"echo:c", b"echo:d"]
    tasks = [classify(engine, image) for image in images]
    await blocker
    results = [(await task)[0] for task in tasks]
    assert isinstance(results[1], PredictionFailed)
    assert "died 2 times over this image" in str(results[1])
    assert labels([results[0], *results[2:]]) == ["echo:a", "echo:c", "echo:d"]
    # Together once, then each alone.
    texts = [image.decode() for image in images]
    assert batches()[1:] == [texts, *[[text] for text in texts]]


async def test_a_neighbour_cancelled_before_the_retry_is_not_computed_again(
    make_engine, until, batches
):
    engine = await make_engine({"log": batches.path}, restart_backoff_s=0.2)
    both = classify(engine, b"sleep:1")
    await until(lambda: batches() == [["sleep:1"]])
    gone = classify(engine, b"echo:gone")
    os.kill(pids(engine)[0], signal.SIGKILL)
    await until(lambda: engine.status().workers[0].state == "restarting")
    gone.cancel()
    assert labels(await both) == ["sleep:1"]
    assert batches() == [["sleep:1"], ["sleep:1"]]


async def test_retries_0_answers_at_the_first_death(make_engine):
    engine = await make_engine(retries=0)
    (result,) = await classify(engine, b"die:x")
    assert isinstance(result, PredictionFailed)
    assert "the worker died over this image" in str(result)


async def test_a_hanging_worker_is_killed_and_replaced(make_engine, until):
    engine = await make_engine(timeout_s=0.3, hang_grace_s=0.1)
    hanging = pids(engine)[0]
    with pytest.raises(Exception, match=r"no answer within 0\.3 s"):
        await classify(engine, b"hang:x")
    await until(lambda: engine.status().workers[0].restarts == 1)
    await all_ready(engine, until)
    assert "hangs" in engine.status().workers[0].cause
    assert pids(engine) != [hanging]
    assert labels(await classify(engine, b"echo:next")) == ["echo:next"]


async def test_a_short_deadline_of_a_caller_never_kills_a_healthy_worker(make_engine):
    engine = await make_engine(timeout_s=10.0, hang_grace_s=0.0)
    before = pids(engine)
    with pytest.raises(Exception, match="no answer"):
        await classify(engine, b"sleep:0.3", timeout_s=0.01)
    assert labels(await classify(engine, b"echo:next")) == ["echo:next"]
    assert pids(engine) == before


async def test_a_stopped_worker_is_a_hanging_one(make_engine, until):
    engine = await make_engine(timeout_s=0.3, hang_grace_s=0.1)
    os.kill(pids(engine)[0], signal.SIGSTOP)
    with pytest.raises(Exception, match="no answer"):
        await classify(engine, b"echo:a")
    await until(lambda: engine.status().workers[0].restarts == 1)
    await all_ready(engine, until)
    assert labels(await classify(engine, b"echo:b")) == ["echo:b"]


async def test_an_exception_is_logged_once_and_reported_without_details(make_engine, caplog):
    engine = await make_engine()
    before = pids(engine)
    (result,) = await classify(engine, b"raise:secret", log_id=4711)
    assert isinstance(result, PredictionFailed)
    assert "secret" not in str(result)
    logged = [record for record in caplog.records if "a fault over secret" in record.getMessage()]
    assert len(logged) == 1
    assert "4711" in logged[0].getMessage()
    assert labels(await classify(engine, b"echo:next")) == ["echo:next"]
    assert pids(engine) == before


async def test_an_exception_over_one_image_spares_its_batch(make_engine):
    engine = await make_engine()
    results = await classify(engine, b"echo:a", b"raise:b", b"echo:c", b"rows:d")
    assert labels([results[0], results[2]]) == ["echo:a", "echo:c"]
    assert isinstance(results[1], PredictionFailed)
    assert isinstance(results[3], PredictionFailed)


async def test_out_of_memory_over_one_image_spares_its_batch_and_its_worker(make_engine, caplog):
    """The system's own killer sends SIGKILL, native code aborts; Python gets to go on."""
    engine = await make_engine()
    before = pids(engine)
    results = await classify(engine, b"echo:a", b"starve:b", b"echo:c")
    assert labels([results[0], results[2]]) == ["echo:a", "echo:c"]
    assert isinstance(results[1], PredictionFailed)
    assert "MemoryError" in caplog.text
    assert "memory" not in str(results[1])
    assert pids(engine) == before


async def test_the_log_names_only_the_requests_that_failed(make_engine, until, caplog):
    engine = await make_engine()
    blocker = classify(engine, b"sleep:0.4")
    await until(lambda: engine.status().workers[0].state == "busy")
    tasks = [classify(engine, p, log_id=i) for i, p in ((11, b"echo:a"), (22, b"raise:b"))]
    await asyncio.gather(blocker, *tasks)
    (logged,) = [r for r in caplog.records if "prediction failed" in r.getMessage()]
    assert "log_id 22\n" in logged.getMessage()


async def test_a_flood_of_exceptions_is_logged_in_part_and_in_short(make_engine, caplog):
    engine = await make_engine()
    for _ in range(60):
        assert isinstance((await classify(engine, b"raise-long:x"))[0], PredictionFailed)
    logged = [r.getMessage() for r in caplog.records if "prediction failed" in r.getMessage()]
    assert 1 <= len(logged) <= 60
    assert all(len(text) < 5000 for text in logged)
    fast = [r for r in caplog.records if "more predictions fail in this second" in r.getMessage()]
    seconds = {int(record.created) for record in caplog.records}
    assert len(logged) <= 12 * len(seconds) + 12
    assert len(fast) <= len(seconds) + 1


async def test_a_wrong_number_of_rows_is_a_failed_prediction(make_engine, caplog):
    engine = await make_engine()
    (result,) = await classify(engine, b"rows:x")
    assert isinstance(result, PredictionFailed)
    assert "0 results for 1 images" in caplog.text


async def test_a_bad_image_fails_alone_with_its_typed_error(make_engine):
    engine = await make_engine()
    results = await classify(engine, b"echo:a", b"bad:b", b"echo:c")
    assert labels([results[0], results[2]]) == ["echo:a", "echo:c"]
    assert type(results[1]) is UndecodableImage
    assert str(results[1]) == "this is no image"
    counters = engine.status().counters
    assert (counters.answered, counters.failed) == (2, 1)


async def test_an_idle_worker_that_dies_is_replaced(make_engine, until):
    engine = await make_engine(workers=2)
    await all_ready(engine, until)
    before = pids(engine)
    os.kill(before[0], signal.SIGKILL)
    tasks = [classify(engine, b"echo:%d" % i) for i in range(20)]
    assert [labels(await task) for task in tasks] == [[f"echo:{i}"] for i in range(20)]
    await until(lambda: engine.status().workers[0].restarts == 1)
    await all_ready(engine, until)
    assert pids(engine)[0] != before[0]
    assert pids(engine)[1] == before[1]


async def test_the_last_words_of_a_worker_are_in_the_log(make_engine, caplog):
    engine = await make_engine(retries=0)
    await classify(engine, b"die:x")
    await classify(engine, b"echo:next")
    deaths = [r for r in caplog.records if "was ended by SIGKILL" in r.getMessage()]
    assert len(deaths) == 1
    assert deaths[0].levelno == logging.ERROR
    assert "it printed last:\n| last words" in deaths[0].getMessage()


@pytest.mark.parametrize(
    ("image", "cause"),
    [
        (b"exit-slowly:x", "exited with code 3"),
        (b"hang-up:x", "closed its connection and stayed, so that it had to be killed"),
    ],
)
async def test_the_cause_of_a_workers_end_is_reported(make_engine, image, cause):
    engine = await make_engine(retries=0)
    await classify(engine, image)
    await classify(engine, b"echo:next")
    assert engine.status().workers[0].cause == cause


async def test_only_log_lines_of_a_worker_have_a_level(make_engine, until, caplog):
    caplog.set_level(logging.INFO)
    engine = await make_engine()
    await classify(engine, b"warn:one\n<3>two", log_id=7)
    await classify(engine, b"print:<3>three")
    await until(lambda: "three" in caplog.text)
    reported = {
        record.getMessage().partition(": ")[2]: record.levelno
        for record in caplog.records
        if record.name == "pipeline.engine.output"
    }
    assert reported == {
        "mine: one": logging.WARNING,
        "<3>two [log_id 7]": logging.WARNING,
        "<3>three": logging.INFO,
    }


async def test_requests_wait_while_the_only_worker_restarts(make_engine, until):
    engine = await make_engine({"start_s": 0.2})
    os.kill(pids(engine)[0], signal.SIGKILL)
    await until(lambda: not engine.ready)
    assert labels(await classify(engine, b"echo:a")) == ["echo:a"]
    assert engine.ready


async def test_repeated_failures_to_start_are_reported_at_once_and_end_with_a_success(
    make_engine, until, tmp_path
):
    broken = tmp_path / "broken"
    engine = await make_engine({"fail_if": str(broken)}, restart_backoff_limit_s=0.1)
    broken.touch()
    os.kill(pids(engine)[0], signal.SIGKILL)
    await until(lambda: not engine.ready)
    waiting = classify(engine, b"echo:waits")
    with pytest.raises(NotReady, match="no worker of service fake can start"):
        await waiting
    with pytest.raises(NotReady):
        await engine.classify(encoded([b"echo:refused"]))
    status = engine.status()
    assert not status.ready
    assert status.workers[0].cause == "RuntimeError: the model is broken"
    assert status.counters.rejected == 1
    assert status.waiting == 0
    broken.unlink()
    await until(lambda: engine.ready)
    assert labels(await classify(engine, b"echo:again")) == ["echo:again"]


async def test_new_requests_are_refused_when_no_worker_will_be_up_in_time(
    make_engine, until, tmp_path
):
    stuck = tmp_path / "stuck"
    engine = await make_engine({"hang_if": str(stuck), "start_s": 0.2}, workers=2, timeout_s=60.0)
    await all_ready(engine, until)
    stuck.touch()
    for pid in pids(engine):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: not engine.ready)
    waits = classify(engine, b"echo:waits")  # a start takes much less than its time
    with pytest.raises(NotReady, match="no worker of service fake is up, and none will be in time"):
        await engine.classify(encoded([b"echo:hurried"]), timeout_s=0.001)

    # Nor does anybody with time wait for workers that are long overdue.
    async def refused():
        task = asyncio.ensure_future(engine.classify(encoded([b"echo:refused"])))
        await asyncio.wait({task}, timeout=0.02)
        if task.done():
            with pytest.raises(NotReady, match="try again later"):
                await task
            return True
        task.cancel()
        return False

    async def until_refused():
        while not await refused():
            pass

    await asyncio.wait_for(until_refused(), PATIENCE_S)
    assert not waits.done()
    stuck.unlink()
    assert labels(await waits) == ["echo:waits"]
    assert labels(await classify(engine, b"echo:again")) == ["echo:again"]


async def test_a_death_is_seen_though_a_grandchild_holds_the_connection(
    make_engine, until, monkeypatch
):
    engine = await make_engine(factory="engine_fakes:build_forking")
    os.kill(pids(engine)[0], signal.SIGKILL)
    await until(lambda: engine.status().workers[0].restarts == 1)
    assert labels(await classify(engine, b"echo:a")) == ["echo:a"]


@pytest.fixture
def heir():
    """Have this process inherit orphans, as process 1 of a container does."""
    set_child_subreaper = 36
    libc = ctypes.CDLL(None)
    assert libc.prctl(set_child_subreaper, 1) == 0
    yield
    assert libc.prctl(set_child_subreaper, 0) == 0


@pytest.mark.usefixtures("heir")
async def test_what_a_dead_worker_had_started_is_no_zombie_of_the_service(make_engine, until):
    engine = await make_engine(factory="engine_fakes:build_forking")
    killed = pids(engine)[0]
    os.kill(killed, signal.SIGKILL)
    await until(lambda: engine.status().workers[0].restarts == 1)
    with pytest.raises(ChildProcessError):
        os.waitpid(-killed, os.WNOHANG)


async def test_output_is_relayed_and_bounded(make_engine, until, caplog):
    caplog.set_level(logging.INFO)
    engine = await make_engine()
    await classify(engine, b"print:hello")
    await until(lambda: "hello" in caplog.text)
    await classify(engine, b"flood:20000")
    await until(lambda: "prints too much" in caplog.text)
    assert len(caplog.records) < 5000
    assert labels(await classify(engine, b"echo:a")) == ["echo:a"]


def descriptors():
    return os.listdir("/proc/self/fd")  # noqa: PTH208


async def test_no_descriptors_left_is_a_failed_start_that_heals(make_engine, until):
    engine = await make_engine(restart_backoff_limit_s=0.05)
    before = sorted(descriptors())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # With every number below the limit taken, the new worker's sockets and pipes cannot be made.
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
    try:
        os.kill(pids(engine)[0], signal.SIGKILL)
        await until(lambda: engine.status().workers[0].pid is None)
        with pytest.raises(NotReady):
            await classify(engine, b"echo:a")
        assert "cannot be started" in engine.status().workers[0].cause
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    await until(lambda: engine.ready)
    assert labels(await classify(engine, b"echo:b")) == ["echo:b"]
    await until(lambda: set(descriptors()) <= set(before))


@pytest.mark.parametrize("free", range(8))
async def test_descriptors_that_run_out_half_way_are_given_back(make_engine, until, free):
    engine = await make_engine(restart_backoff_limit_s=0.05)
    before = len(descriptors())
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    fillers = [os.dup(0) for _ in range(50)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(fillers) + 1, hard))
    for _ in range(free):
        os.close(fillers.pop())
    try:
        os.kill(pids(engine)[0], signal.SIGKILL)
        await until(lambda: engine.status().workers[0].cause is not None)
        await asyncio.sleep(0.1)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for filler in fillers:
            os.close(filler)
    await until(lambda: engine.ready)
    assert labels(await classify(engine, b"echo:b")) == ["echo:b"]
    await until(lambda: len(descriptors()) <= before)
