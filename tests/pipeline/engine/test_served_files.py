"""A worker that is started again later serves the files of its neighbours, or none."""

from __future__ import annotations

import asyncio
import json
import os
import signal

import pytest

from pipeline.engine.served_files import FilesChangedError, ServedFiles, mark_files
from protocol.errors import NotReady
from protocol.request import encoded
from tests.patience import PATIENCE_S

CHANGED = "changed since they were loaded"


@pytest.fixture
def folder(tmp_path):
    """A bundle's folder as far as the engine sees it."""
    folder = tmp_path / "server"
    (folder / "part").mkdir(parents=True)
    (folder / "model").write_text("graph")
    (folder / "part" / "weights").write_text("0 1 2")
    (tmp_path / "record").write_text("record")
    return folder


def roots(folder):
    return (str(folder), str(folder.parent / "record"))


def marked(folder):
    """The marks as they come out of a start message."""
    return ServedFiles.from_header(json.loads(json.dumps(mark_files(roots(folder)).header())))


def rewrite_keeping_size_and_time(folder):
    """As `cp -p` and `rsync --times` do it."""
    file = folder / "part" / "weights"
    before = file.stat()
    file.write_text("2 1 0")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_rename(folder):
    (folder / "new").write_text("other")
    (folder / "new").rename(folder / "model")


CHANGES = {
    "rewritten": rewrite_keeping_size_and_time,
    "renamed over": replace_by_rename,
    "truncated": lambda folder: os.truncate(folder / "model", 2),
    "gone": lambda folder: (folder / "part" / "weights").unlink(),
    "more": lambda folder: (folder / "part" / "more").write_text("bias"),
    "record": lambda folder: (folder.parent / "record").write_text("another"),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_every_change_is_seen(folder, change):
    files = marked(folder)
    files.check()
    change(folder)
    with pytest.raises(FilesChangedError, match=CHANGED) as caught:
        files.check()
    assert str(folder) in str(caught.value)
    assert str(folder) not in caught.value.public_cause


def test_the_same_content_again_is_no_change(folder):
    files = marked(folder)
    (folder / "model").touch()
    (folder / "part" / "copy").write_text("0 1 2")
    (folder / "part" / "copy").rename(folder / "part" / "weights")
    (folder / ".model.swp").write_text("an editor's")
    files.check()


def classify(engine, image):
    return asyncio.wait_for(engine.classify(encoded([image])), PATIENCE_S)


def workers(engine):
    return engine.status().workers


def kill(engine, index):
    os.kill(workers(engine)[index].pid, signal.SIGKILL)


async def test_workers_that_run_go_on_and_none_starts_with_other_files(make_engine, until, folder):
    engine = await make_engine(
        workers=2, command={"roots": roots(folder)}, restart_backoff_limit_s=0.1
    )
    await until(lambda: all(worker.state.ready for worker in workers(engine)))
    (folder / "model").write_text("other")
    kill(engine, 0)
    await until(lambda: CHANGED in (workers(engine)[0].cause or ""))
    for _ in range(3):
        assert (await classify(engine, b"echo:a"))[0][0].label == "echo:a"
    assert engine.ready

    kill(engine, 1)
    await until(lambda: CHANGED in (workers(engine)[1].cause or ""))
    with pytest.raises(NotReady, match=f"{CHANGED}; reload the service") as caught:
        await classify(engine, b"echo:a")
    assert str(folder) not in str(caught.value)

    # A reload makes a new engine; the old one recovers too if the files are put back.
    successor = await make_engine(command={"roots": roots(folder)})
    assert (await classify(successor, b"echo:new"))[0][0].label == "echo:new"
    (folder / "model").write_text("graph")
    await until(lambda: engine.ready)
    assert (await classify(engine, b"echo:b"))[0][0].label == "echo:b"


async def test_waiting_requests_fail_with_the_reason_when_no_worker_can_start(
    make_engine, until, folder
):
    engine = await make_engine(command={"roots": roots(folder)}, restart_backoff_s=0.1)
    (folder / "model").unlink()
    kill(engine, 0)
    await until(lambda: not engine.ready)
    with pytest.raises(NotReady, match=CHANGED):
        await classify(engine, b"echo:a")
    assert "model" in workers(engine)[0].cause


async def test_files_that_change_while_a_worker_loads_them_are_not_served(
    make_engine, until, folder
):
    engine = await make_engine({"start_s": 0.5}, command={"roots": roots(folder)}, start=False)
    starting = asyncio.ensure_future(engine.start())
    await until(lambda: workers(engine) and workers(engine)[0].pid)
    (folder / "model").write_text("other")
    with pytest.raises(Exception, match=CHANGED):
        await asyncio.wait_for(starting, PATIENCE_S)
