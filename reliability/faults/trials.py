"""The faults, one function each: each does one to a running service and returns a finding."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import pickle
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.service import HOST
from protocol.key_value import pipeline_service_pb2 as pb

from ..bad_input import bad_images, white_png
from ..wire import HttpConnection, HttpMessage, NoReplyError, RpcConnection
from .callers import PATIENCE_S, Callers, envelope, replies_again, under_load
from .findings import Finding, Memory, longest_gap, summary, watching
from .inputs import SERVICE, WORKERS, Inputs
from .services import Subject, at_work, exists

BYTES = 13  # elem_type of a tensor that holds bytes, np.save's (pipeline_service.proto)


@dataclass(frozen=True)
class Trial:
    """A fault; `threads`: Paddle Serving 0.9 runs in its default mode for it."""

    name: str
    run: Callable[[Subject, Inputs], Coroutine[Any, Any, Finding]]
    threads: bool = False


# --- processes ------------------------------------------------------------------------------------


async def one_worker_killed(subject: Subject, inputs: Inputs) -> Finding:
    """SIGKILL to one process with a model, under load."""
    return await _signalled(subject, inputs, signal.SIGKILL, all_of_them=False)


async def all_workers_killed(subject: Subject, inputs: Inputs) -> Finding:
    """SIGKILL to all of them."""
    return await _signalled(subject, inputs, signal.SIGKILL, all_of_them=True)


async def one_worker_hangs(subject: Subject, inputs: Inputs) -> Finding:
    """SIGSTOP to one of them; nothing else ends it."""
    return await _signalled(subject, inputs, signal.SIGSTOP, all_of_them=False)


async def _signalled(
    subject: Subject, inputs: Inputs, number: int, *, all_of_them: bool
) -> Finding:
    workers = subject.workers()
    chosen = workers if all_of_them else workers[:1]

    def event() -> None:
        for pid in chosen:
            os.kill(pid, number)

    counts, happened_s = await under_load(subject, inputs, event)
    text, good = summary(counts)
    gap_s = longest_gap(counts, happened_s)
    again = await replies_again(subject, inputs)
    up = sum(map(at_work, subject.workers()))
    text += f"; longest pause {gap_s:.1f} s" if again else "; no answers any more"
    text += f"; {up} of {WORKERS} workers at the end"
    return Finding(text, good and again and up == WORKERS)


async def stopped_under_load(subject: Subject, inputs: Inputs) -> Finding:
    """SIGTERM while eight callers wait."""
    family = subject.everything()
    sending = Callers(subject, inputs)
    running = asyncio.create_task(sending.run(8))
    await asyncio.sleep(3)
    before = sending.counts.lost
    began = time.monotonic()
    subject.process.terminate()
    sending.stop()
    await asyncio.gather(asyncio.to_thread(subject.process.wait, 60), running)
    seconds = time.monotonic() - began
    await asyncio.sleep(1)
    left = sum(map(exists, family))
    lost = sending.counts.lost - before
    code = subject.process.returncode
    text = f"{lost} of 8 requests under way lost; exit code {code} after {seconds:.1f} s"
    text += f"; {left} processes left behind" if left else ""
    return Finding(text, lost == 0 and left == 0 and code == 0)


# --- load -----------------------------------------------------------------------------------------


async def burst(subject: Subject, inputs: Inputs) -> Finding:
    """300 requests at once, where 32 may wait."""
    sending = Callers(subject, inputs)
    await asyncio.gather(*(sending.once() for _ in range(300)))
    text, good = summary(sending.counts)
    slowest = max(sending.counts.taken_s, default=0.0)
    again = await replies_again(subject, inputs)
    text += f"; slowest answer {slowest:.1f} s" + ("" if again else "; no answers any more")
    return Finding(text, good and again)


async def callers_go_away(subject: Subject, inputs: Inputs) -> Finding:
    """200 callers hang up while they wait; how long until the next one gets its result?"""
    connections = [HttpConnection(subject.http_port) for _ in range(200)]
    messages = [envelope(inputs.images[n % len(inputs.images)]) for n in range(200)]
    leaving = (c.abandon(m, 1.0, after_s=0.2) for c, m in zip(connections, messages, strict=True))
    await asyncio.gather(*leaving)
    sending = Callers(subject, inputs)
    began = time.monotonic()
    # While the queue is full it tries again, as callers do.
    while not sending.counts.right and time.monotonic() - began < PATIENCE_S:
        await sending.once()
    seconds = time.monotonic() - began
    right = sending.counts.right == 1
    text = f"the next one is answered after {seconds:.2f} s"
    return Finding(text if right else "the next one gets nothing", right and seconds < 1)


async def idle_connections(subject: Subject, inputs: Inputs) -> Finding:
    """2,000 connections that send nothing."""
    streams = []
    with contextlib.suppress(OSError):
        for _ in range(2000):
            streams.append(await asyncio.open_connection(HOST, subject.http_port))
    sending = Callers(subject, inputs)
    began = time.monotonic()
    await sending.once()
    seconds = time.monotonic() - began
    for _, writer in streams:
        writer.close()
    right = sending.counts.right == 1
    text = f"a new caller was answered after {seconds:.2f} s"
    return Finding(text if right else "a new caller got nothing", right)


async def sixteen_callers(subject: Subject, inputs: Inputs) -> Finding:
    """16 callers with images of their own for ten seconds, and no fault."""
    counts, _ = await under_load(subject, inputs, lambda: None, callers=16, before_s=0, after_s=10)
    text, good = summary(counts)
    again = await replies_again(subject, inputs)
    return Finding(text + ("" if again else "; no answers any more"), good and again)


# --- input ----------------------------------------------------------------------------------------


async def bad_among_good(subject: Subject, inputs: Inputs) -> Finding:
    """Good callers, while others send bytes that are neither images nor requests."""
    sending = Callers(subject, inputs)
    good = asyncio.create_task(sending.run(4))
    bad = [image for image, _ in bad_images(inputs.images[0]).values()]
    messages = [envelope(image) for image in bad if len(image) < 2**20]
    messages += [
        HttpMessage(f"/{SERVICE}/prediction", body)
        for body in (b"", b"{", b"[1]", b'{"key": ["image"], "value": ["*"]}', b'{"key": ["a"]}')
    ]
    until, sent, unanswered = time.monotonic() + 8, 0, 0
    while time.monotonic() < until:
        for message in messages:
            connection = HttpConnection(subject.http_port)
            try:
                await connection.exchange(message, PATIENCE_S)
            except NoReplyError:
                unanswered += 1
            sent += 1
            await connection.close()
    sending.stop()
    await good
    text, fine = summary(sending.counts)
    again = await replies_again(subject, inputs)
    text = f"good callers: {text}; {unanswered} of {sent} bad requests without an answer"
    return Finding(text + ("" if again else "; no answers any more"), fine and again)


async def large_image(subject: Subject, inputs: Inputs) -> Finding:
    """A PNG of 100 kB that becomes 2.7 GB, four times at once."""
    bomb = envelope(white_png(30_000))
    connections = [HttpConnection(subject.http_port) for _ in range(4)]

    async def send(connection: HttpConnection) -> bool:
        with contextlib.suppress(NoReplyError):
            await connection.exchange(bomb, 60)
            return True
        return False

    async with watching(subject) as memory:
        answered = sum(await asyncio.gather(*(send(c) for c in connections)))
    return await _after(subject, inputs, f"{answered} of 4 answered", memory)


async def large_body(subject: Subject, inputs: Inputs) -> Finding:
    """A body of 200 MB."""
    body = b'{"key": ["a"], "value": ["' + b"A" * 200_000_000
    async with watching(subject) as memory:
        try:
            message = HttpMessage(f"/{SERVICE}/prediction", body)
            status, _ = await HttpConnection(subject.http_port).exchange(message, 60)
            answered = f"HTTP {status}"
        except NoReplyError:
            answered = "connection closed"
    return await _after(subject, inputs, answered, memory)


async def _after(subject: Subject, inputs: Inputs, answered: str, memory: Memory) -> Finding:
    again = await replies_again(subject, inputs)
    text = f"{answered}; {memory.grown_gib:.1f} GiB more memory"
    text += "" if again else "; no answers any more"
    return Finding(text, again and memory.grown_gib < 0.5)


async def pickle_in_a_request(subject: Subject, inputs: Inputs) -> Finding:
    """A tensor whose bytes are a pickle that writes a file."""
    made = inputs.folder / f"made-{subject.http_port}"
    buffer = io.BytesIO()
    # The head of np.save's format, and behind it a pickle, which every version of NumPy reads.
    head = {"descr": "|O", "fortran_order": False, "shape": (1,)}
    np.lib.format.write_array_header_1_0(buffer, head)
    pickle.dump(_Writes(str(made)), buffer, protocol=2)
    tensor = pb.Tensor(name="image", elem_type=BYTES, byte_data=buffer.getvalue(), shape=[1])
    rpc = RpcConnection(subject.rpc_port)
    with contextlib.suppress(NoReplyError):
        await rpc.exchange(
            pb.Request(name=SERVICE, tensors=[tensor]), PATIENCE_S, own_deadline=False
        )
    await rpc.close()
    ran = made.exists()
    return Finding("the caller's code ran" if ran else "refused; nothing ran", not ran)


class _Writes:
    """An object that writes a file when it is unpickled, as an attacker's would."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (self._path, "w")


# --- operation ------------------------------------------------------------------------------------


async def new_labels(subject: Subject, inputs: Inputs) -> Finding:
    """Serve another model or label file, under load."""
    if subject.admin_port is None:
        return Finding("a restart: every request of it is lost", good=False)
    port = subject.admin_port
    reloads: list[asyncio.Task[tuple[int, bytes]]] = []

    def event() -> None:
        message = HttpMessage("/-/reload", b"")
        reloads.append(asyncio.create_task(HttpConnection(port).exchange(message, 60)))

    counts, _ = await under_load(subject, inputs, event, after_s=8)
    status, _ = await reloads[0]
    text, good = summary(counts)
    return Finding(f"a reload: {text}", good and status == 200)


TRIALS: dict[str, Trial] = {
    "killed": Trial("a worker is killed (SIGKILL)", one_worker_killed),
    "all-killed": Trial("all workers are killed", all_workers_killed),
    "hangs": Trial("a worker hangs (SIGSTOP)", one_worker_hangs),
    "stop": Trial("SIGTERM under load", stopped_under_load),
    "burst": Trial("300 requests at once, 32 may wait", burst),
    "go-away": Trial("200 callers hang up", callers_go_away),
    "idle": Trial("2,000 idle connections", idle_connections),
    "callers": Trial("16 callers, no fault", sixteen_callers),
    "threads": Trial("16 callers, 0.9 in its default mode", sixteen_callers, threads=True),
    "bad": Trial("bad images and requests among good ones", bad_among_good),
    "bomb": Trial("four PNGs of 100 kB that unpack to 2.7 GB", large_image),
    "body": Trial("a body of 200 MB", large_body),
    "pickle": Trial("a pickle in a request", pickle_in_a_request),
    "reload": Trial("another model or label file", new_labels),
}
