"""Start, readiness, admission, drain and close."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from pathlib import Path

import pytest

from pipeline.admission.services import Services
from pipeline.engine.command import WorkerCommand
from pipeline.engine.engine import Engine, EngineStartError
from pipeline.settings.engine import EngineSettings
from protocol.errors import InvalidRequest, NotReady, Overloaded, ServiceClosed
from protocol.request import encoded
from tests.patience import PATIENCE_S


def classify(engine, *images, topk=None, threshold=None, **options):
    return asyncio.ensure_future(
        asyncio.wait_for(engine.classify(encoded(images, topk, threshold), **options), PATIENCE_S)
    )


def labels(results):
    return [result[0].label for result in results]


async def busy(engine, until, seconds):
    task = classify(engine, b"sleep:%g" % seconds)
    await until(lambda: engine.status().workers[0].state == "busy")
    return task


# --- start ---------------------------------------------------------------------------------------


async def test_start_returns_when_the_first_worker_is_ready(make_engine, until):
    engine = await make_engine(workers=2, start=False)
    assert not engine.ready
    with pytest.raises(NotReady, match="starting"):
        await engine.classify(encoded([b"echo:a"]))
    await asyncio.wait_for(engine.start(), PATIENCE_S)
    assert engine.ready
    assert engine.facts["backend"] == "fake"
    assert engine.facts["load_s"] >= 0
    await until(lambda: all(worker.state == "idle" for worker in engine.status().workers))
    assert len({worker.pid for worker in engine.status().workers}) == 2


@pytest.mark.parametrize(
    ("condition", "cause"),
    [
        ("fail_if", "fake: RuntimeError: the model is broken"),
        ("exit_if", "fake: exited with code 7: the library is missing"),
    ],
)
async def test_a_failing_start_tells_the_workers_cause(make_engine, condition, cause):
    engine = await make_engine({condition: "/"}, workers=2, start=False)
    with pytest.raises(EngineStartError) as caught:
        await asyncio.wait_for(engine.start(), PATIENCE_S)
    assert str(caught.value) == cause
    with pytest.raises(ServiceClosed):
        await engine.classify(encoded([b"echo:a"]))


async def test_an_unknown_factory_is_an_error(make_engine):
    engine = await make_engine(factory="nowhere_at_all:build", start=False)
    with pytest.raises(EngineStartError, match="No module named 'nowhere_at_all'"):
        await asyncio.wait_for(engine.start(), PATIENCE_S)


async def test_a_start_that_takes_too_long_is_ended(make_engine, alive):
    engine = await make_engine({"start_s": 2 * PATIENCE_S}, start_timeout_s=0.3, start=False)
    with pytest.raises(EngineStartError, match=r"was not ready within 0\.3 s"):
        await asyncio.wait_for(engine.start(), PATIENCE_S)


async def test_a_cancelled_start_leaves_no_process(make_engine, until, alive):
    engine = await make_engine({"start_s": 2 * PATIENCE_S}, start=False)
    starting = asyncio.ensure_future(engine.start())
    await until(lambda: engine.status().workers and engine.status().workers[0].pid)
    pid = engine.status().workers[0].pid
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, PATIENCE_S)
    assert not alive(pid)


async def test_a_start_that_is_cancelled_before_its_workers_leaves_no_unretrieved_exception(
    make_engine,
):
    """As SIGTERM does to a reload: asyncio logged "Future exception was never retrieved"."""
    reported: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: reported.append(context))
    engine = await make_engine(start=False)
    marking = asyncio.Event()
    go_on = threading.Event()

    class Command:
        def marked(self):
            loop.call_soon_threadsafe(marking.set)
            go_on.wait(PATIENCE_S)

    engine._command = Command()
    starting = asyncio.ensure_future(engine.start())
    await asyncio.wait_for(marking.wait(), PATIENCE_S)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(starting, PATIENCE_S)
    go_on.set()
    del starting
    engine._started = None
    gc.collect()
    assert reported == []


async def test_close_ends_a_start_that_is_under_way(make_engine, until):
    engine = await make_engine({"start_s": 2 * PATIENCE_S}, start=False)
    starting = asyncio.ensure_future(engine.start())
    await until(lambda: engine.status().workers and engine.status().workers[0].pid)
    await asyncio.wait_for(engine.close(), PATIENCE_S)
    with pytest.raises(EngineStartError, match="stopped while starting"):
        await asyncio.wait_for(starting, PATIENCE_S)


async def test_workers_have_their_own_environment_and_group(make_engine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    names = ["OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"]
    engine = await make_engine(
        {"names": names},
        factory="engine_fakes:build_environment",
        command={"devices": ("gpu:1",), "environment": {"OMP_NUM_THREADS": "2"}},
    )
    facts = engine.facts
    assert facts["OMP_NUM_THREADS"] == "2"
    assert facts["CUDA_VISIBLE_DEVICES"] == "1"
    assert facts["folder"] == str(tmp_path)
    assert facts["session"] == engine.status().workers[0].pid != os.getsid(0)


async def test_workers_get_no_secrets_of_the_service(make_engine, monkeypatch):
    secrets = {
        "PADDLE_SERVING_KIT_API_KEYS": "app: 0123456789abcdef-key",
        "PADDLE_SERVING_KIT_API_KEY": "0123456789abcdef-own",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=0123456789abcdef-otlp",
        "OTEL_EXPORTER_OTLP_TRACES_HEADERS": "authorization=0123456789abcdef-traces",
    }
    for name, value in secrets.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SOMETHING_ELSE", "kept")
    engine = await make_engine()
    # What the kernel shows of the process, not what it says of itself.
    environment = Path(f"/proc/{engine.status().workers[0].pid}/environ").read_bytes()
    assert b"SOMETHING_ELSE=kept" in environment.split(b"\0")
    assert b"0123456789abcdef" not in environment
    assert not any(name.encode() in environment for name in secrets)


async def test_a_crashed_worker_leaves_no_core_dump(make_engine, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (limits[1], limits[1]))
    try:
        engine = await make_engine(retries=0)
        shown = Path(f"/proc/{engine.status().workers[0].pid}/limits").read_text()
        (core,) = [line.split() for line in shown.splitlines() if "core file" in line]
        assert core[4:6] == ["0", "0"]
        for crash in (b"segfault:x", b"abort:x"):
            await classify(engine, crash)
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, limits)
    assert list(tmp_path.iterdir()) == []


# --- admission -----------------------------------------------------------------------------------


async def test_a_full_queue_refuses_at_once_and_admits_all_or_nothing(make_engine, until):
    engine = await make_engine(queue_size=3)
    blocker = await busy(engine, until, 0.6)
    two = classify(engine, b"echo:a", b"echo:b")
    await until(lambda: engine.status().waiting == 2)
    with pytest.raises(Overloaded, match="the queue of service fake is full"):
        await engine.classify(encoded([b"echo:c", b"echo:d"]))
    one = classify(engine, b"echo:e")
    await until(lambda: engine.status().waiting == 3)
    with pytest.raises(Overloaded):
        await engine.classify(encoded([b"echo:f"]))
    await blocker
    assert labels(await two) == ["echo:a", "echo:b"]
    assert labels(await one) == ["echo:e"]
    assert engine.status().counters.rejected == 3


async def test_a_burst_on_idle_workers_is_not_refused_for_a_short_queue(make_engine, until):
    engine = await make_engine(workers=2, queue_size=1)
    await until(lambda: all(worker.state == "idle" for worker in engine.status().workers))
    tasks = [classify(engine, b"sleep:0.1") for _ in range(3)]
    assert [labels(await task) for task in tasks] == [["sleep:0.1"]] * 3


async def test_a_request_larger_than_the_queue_can_never_be_served(make_engine):
    engine = await make_engine(queue_size=2)
    with pytest.raises(InvalidRequest, match=r"3 images in one request.*at most 2"):
        await engine.classify(encoded([b"echo:a"] * 3))


async def test_no_images_no_results(make_engine):
    engine = await make_engine()
    assert await engine.classify(encoded([])) == []


async def test_options_travel_with_each_image(make_engine):
    engine = await make_engine()
    results = await asyncio.gather(
        classify(engine, b"echo:a", topk=3),
        classify(engine, b"echo:b", threshold=0.25),
        classify(engine, b""),
    )
    assert [len(result[0]) for result in results] == [3, 1, 1]
    assert [result[0][0].score for result in results] == [0.5, 0.25, 0.5]
    assert labels(results[2]) == [""]


# --- batches -------------------------------------------------------------------------------------


async def test_waiting_images_go_as_one_batch_of_at_most_batch_size(make_engine, until, batches):
    engine = await make_engine({"log": batches.path}, batch_size=4)
    blocker = await busy(engine, until, 0.4)
    tasks = [classify(engine, b"echo:%d" % i) for i in range(6)]
    await asyncio.gather(blocker, *tasks)
    assert [len(batch) for batch in batches()] == [1, 4, 2]


async def test_idle_workers_share_the_images_of_one_request(make_engine, until, batches):
    engine = await make_engine({"log": batches.path, "delay_s": 0.05}, workers=2)
    await until(lambda: all(worker.state == "idle" for worker in engine.status().workers))
    results = await classify(engine, *[b"echo:%d" % i for i in range(6)])
    assert labels(results) == [f"echo:{i}" for i in range(6)]
    assert sorted(len(batch) for batch in batches()) == [3, 3]


async def test_auto_batching_waits_for_company_but_not_for_ever(make_engine, batches):
    engine = await make_engine(
        {"log": batches.path}, batch_size=3, auto_batching_timeout_s=5.0, timeout_s=60.0
    )
    tasks = []
    for i in range(3):
        tasks.append(classify(engine, b"echo:%d" % i))
        await asyncio.sleep(0.02)
    await asyncio.gather(*tasks)
    assert [len(batch) for batch in batches()] == [3]


async def test_auto_batching_leaves_a_hurried_caller_half_of_its_time(make_engine):
    engine = await make_engine(auto_batching_timeout_s=5.0)
    assert labels(await classify(engine, b"echo:a", timeout_s=2.0)) == ["echo:a"]


async def test_auto_batching_ends_with_its_timeout(make_engine, batches):
    engine = await make_engine({"log": batches.path}, auto_batching_timeout_s=0.8)
    tasks = [classify(engine, b"echo:a")]
    await asyncio.sleep(0.03)
    tasks.append(classify(engine, b"echo:b"))
    await asyncio.gather(*tasks)
    await classify(engine, b"echo:c")
    assert [len(batch) for batch in batches()] == [2, 1]


async def test_large_images_pass_whole(make_engine):
    engine = await make_engine(workers=2)
    results = await classify(engine, *[b"echo:%d:" % i + b"x" * (3_000_000 + i) for i in range(5)])
    assert [result[0].class_id for result in results] == [3_000_007 + i for i in range(5)]


# --- stop ----------------------------------------------------------------------------------------


async def test_drain_finishes_open_requests_and_refuses_new_ones(make_engine, until, alive):
    engine = await make_engine({"delay_s": 0.05}, batch_size=2)
    tasks = [classify(engine, b"echo:%d" % i) for i in range(6)]
    await until(lambda: engine.status().open_requests == 6)
    draining = asyncio.ensure_future(engine.drain(PATIENCE_S))
    await asyncio.sleep(0)
    assert not engine.ready
    with pytest.raises(ServiceClosed):
        await engine.classify(encoded([b"echo:late"]))
    assert await draining is True
    assert [labels(task.result()) for task in tasks] == [[f"echo:{i}"] for i in range(6)]
    pid = engine.status().workers[0].pid
    await asyncio.wait_for(engine.close(), PATIENCE_S)
    assert not alive(pid)
    assert engine.status().workers[0].state == "stopped"


async def test_drain_ends_the_wait_for_company(make_engine, until):
    hours = 100 * PATIENCE_S
    engine = await make_engine(auto_batching_timeout_s=hours, timeout_s=hours)
    task = classify(engine, b"echo:a")
    await until(lambda: engine.status().waiting == 1)
    assert await engine.drain(PATIENCE_S)
    assert labels(await task) == ["echo:a"]


async def test_drain_survives_a_death(make_engine, until):
    engine = await make_engine()
    task = await busy(engine, until, 0.4)
    os.kill(engine.status().workers[0].pid, signal.SIGKILL)
    assert await engine.drain(PATIENCE_S)
    assert labels(await task) == ["sleep:0.4"]


async def test_work_that_outlasts_the_drain_is_answered_service_closed(make_engine, until, alive):
    engine = await make_engine(stop_grace_s=0.2, timeout_s=4 * PATIENCE_S)
    running = await busy(engine, until, 2 * PATIENCE_S)
    waiting = classify(engine, b"echo:a")
    await until(lambda: engine.status().waiting == 1)
    pid = engine.status().workers[0].pid
    assert await engine.drain(0.1) is False
    await asyncio.wait_for(engine.close(), PATIENCE_S)
    for task in (running, waiting):
        with pytest.raises(ServiceClosed):
            await task
    assert not alive(pid)
    await engine.close()  # again


async def test_close_does_not_wait_for_a_back_off(make_engine, until):
    engine = await make_engine(restart_backoff_s=600.0, restart_backoff_limit_s=600.0)
    os.kill(engine.status().workers[0].pid, signal.SIGKILL)
    await until(lambda: engine.status().workers[0].pid is None)
    await asyncio.wait_for(engine.close(), PATIENCE_S)


async def test_close_of_an_engine_that_never_started(make_engine):
    engine = await make_engine(start=False)
    assert await engine.drain(1.0)
    await engine.close()
    assert not engine.ready


async def test_nothing_is_left_behind(make_engine, until):
    def descriptors():
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208

    async def one_life():
        engine = await make_engine(workers=2)
        await classify(engine, b"echo:a")
        os.kill(engine.status().workers[0].pid, signal.SIGKILL)
        await classify(engine, b"echo:b")
        await engine.drain(PATIENCE_S)
        await asyncio.wait_for(engine.close(), PATIENCE_S)

    await one_life()
    gc.collect()
    before, tasks_before = descriptors(), len(asyncio.all_tasks())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            await one_life()
        gc.collect()
    await until(lambda: set(descriptors()) <= set(before))
    assert len(asyncio.all_tasks()) == tasks_before


async def test_images_are_freed_with_their_request(make_engine, until):
    gc.collect()
    gc.disable()
    try:
        engine = await make_engine(timeout_s=0.2, hang_grace_s=5.0)
        image = b"sleep:0.3:"[:-1]
        image = bytes(bytearray(image))
        references = sys.getrefcount(image)
        with pytest.raises(Exception, match="no answer"):
            await engine.classify(encoded([image]))
        await until(lambda: engine.status().workers[0].state == "idle")
        assert sys.getrefcount(image) == references
    finally:
        gc.enable()


SERVICE = """
import asyncio, json, sys, time
sys.path.insert(0, {root!r})
from pipeline.engine.command import WorkerCommand
from pipeline.engine.engine import Engine
from pipeline.settings.engine import EngineSettings
from protocol.request import encoded

async def main():
    command = WorkerCommand("{{}}", "engine_fakes:build", environment={{"PYTHONPATH": {fakes!r}}})
    engine = Engine("fake", command, EngineSettings(workers=2))
    await engine.start()
    asyncio.ensure_future(engine.classify(encoded([{image!r}])))
    while not all(worker.state.ready for worker in engine.status().workers):
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    print(json.dumps([worker.pid for worker in engine.status().workers]), flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


@pytest.mark.parametrize("image", [b"echo:a", b"sleep:3600", b"hang:x"])
async def test_workers_leave_when_the_service_process_is_killed(root, until, alive, image):
    fakes = str(Path(__file__).resolve().parent)
    script = SERVICE.format(root=str(root), fakes=fakes, image=image)
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as service:
        line = await asyncio.wait_for(asyncio.to_thread(service.stdout.readline), PATIENCE_S)
        pids = [int(part) for part in line.strip(b"[]\n").split(b",")]
        assert len(pids) == 2
        assert all(alive(pid) for pid in pids)
        service.kill()
    await until(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_stop_signals_to_a_worker_change_nothing(make_engine, until, number):
    engine = await make_engine()
    task = await busy(engine, until, 0.4)
    os.kill(engine.status().workers[0].pid, number)
    assert labels(await task) == ["sleep:0.4"]
    assert engine.status().workers[0].restarts == 0


# --- listeners -----------------------------------------------------------------------------------


async def test_listeners_hear_each_change_of_ready_and_nothing_else(make_engine, until):
    # The pause before a restart: both workers are gone before one is back.
    engine = await make_engine(workers=2, restart_backoff_s=1.0, start=False)
    heard = []
    engine.on_change(lambda: heard.append(engine.ready))
    await asyncio.wait_for(engine.start(all_workers=True), PATIENCE_S)
    assert heard == [True]
    assert labels(await classify(engine, *[b"echo:a"] * 8)) == ["echo:a"] * 8
    one, other = (worker.pid for worker in engine.status().workers)
    os.kill(one, signal.SIGKILL)
    await until(lambda: engine.status().workers[0].restarts == 1)
    await until(lambda: all(worker.state == "idle" for worker in engine.status().workers))
    assert heard == [True]
    for pid in (engine.status().workers[0].pid, other):
        os.kill(pid, signal.SIGKILL)
    await until(lambda: len(heard) == 3)
    assert heard == [True, False, True]
    assert await engine.drain(PATIENCE_S)
    await engine.close()
    assert heard == [True, False, True, False]


async def test_an_engine_that_closes_without_a_drain_is_heard_once(make_engine):
    engine = await make_engine()
    heard = []
    end = engine.on_change(lambda: heard.append(engine.ready))
    await asyncio.wait_for(engine.close(), PATIENCE_S)
    assert heard == [False]
    end()
    await engine.close()
    assert heard == [False]


async def test_a_closed_engine_is_not_kept_by_the_services_that_listened():
    engine = Engine("fake", WorkerCommand("{}", factory="nowhere:build"), EngineSettings())
    services = Services({"waste": engine}, max_images=4)
    services.replace({}, max_images=4)
    await engine.close()
    gone = weakref.ref(engine)
    del engine
    gc.collect()
    assert gone() is None
