"""Attacks on the life of the service: it is stopped while requests are on their way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from base64 import b64encode

from .access import IMAGE
from .attacker import Attack, Attacker
from .bodies import JSON
from .target import DRAIN_S, Mode

UPLOADS, PIECES = 8, 20
CLOSED, LATE = 3001, 6000


async def _judged(
    attacker: Attacker, replying: list[asyncio.Task[bytes]], allowed: tuple[int, ...]
) -> None:
    """Every request that was on its way needs a reply of ours, with one of these err_no."""
    for reply in await asyncio.gather(*replying, return_exceptions=True):
        if isinstance(reply, BaseException):
            attacker.problems.append(f"a request got no reply: {type(reply).__name__}: {reply}")
            continue
        head, _, body = reply.partition(b"\r\n\r\n")
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        try:
            err_no = json.loads(body).get("err_no", 0)
        except (ValueError, AttributeError):
            attacker.problems.append(f"an untyped reply: {status}, {body[:60]!r}")
            continue
        attacker.cut += err_no == CLOSED
        if err_no not in allowed:
            attacker.problems.append(f"{status}, err_no {err_no}: {body[:200]!r}")


async def _slow_upload(
    attacker: Attacker, content: bytes, begun: asyncio.Event, seconds: float
) -> bytes:
    """Send a request within that time, or until its reply is there; return the reply."""
    line = await attacker.connect()
    try:
        replying = asyncio.create_task(line.reply())
        step = len(content) // PIECES + 1
        for start in range(0, len(content), step):
            if replying.done():
                break
            with contextlib.suppress(OSError):
                await line.send(content[start : start + step])
            begun.set()
            await asyncio.wait({replying}, timeout=seconds / PIECES)
        return await replying
    finally:
        line.close()


async def _stop_during_upload(attacker: Attacker, seconds: float, *allowed: int) -> None:
    image = IMAGE.read_bytes()
    content = attacker.head("Content-Type: image/jpeg", size=len(image)) + image
    begun = [asyncio.Event() for _ in range(UPLOADS)]
    replying = [asyncio.create_task(_slow_upload(attacker, content, one, seconds)) for one in begun]
    await asyncio.gather(*(one.wait() for one in begun))
    os.kill(attacker.target.process_id, signal.SIGTERM)
    await _judged(attacker, replying, allowed)


async def stop_during_upload(attacker: Attacker) -> None:
    """Send SIGTERM while eight uploads of two seconds are on their way: there is time for them."""
    await _stop_during_upload(attacker, 2.0, 0)


async def stop_during_long_upload(attacker: Attacker) -> None:
    """Send SIGTERM while uploads are on their way that last longer than the time for a stop."""
    await _stop_during_upload(attacker, 3 * DRAIN_S, CLOSED, LATE)


async def stop_during_parsing(attacker: Attacker) -> None:
    """Send SIGTERM right behind eight bodies of 8 MB."""
    image = b64encode(IMAGE.read_bytes()).decode()
    body = json.dumps({"key": ["image"], "value": [image], "x": "a" * 8_000_000}).encode()
    lines = [await attacker.connect() for _ in range(UPLOADS)]
    for line in lines:
        await line.send(attacker.head(JSON, size=len(body)) + body)
    os.kill(attacker.target.process_id, signal.SIGTERM)
    replying = [asyncio.create_task(line.reply()) for line in lines]
    await _judged(attacker, replying, (0, CLOSED))


async def stop_during_reload(attacker: Attacker) -> None:
    """Send SIGTERM while new workers start."""
    os.kill(attacker.target.process_id, signal.SIGHUP)
    await asyncio.sleep(0.3)
    os.kill(attacker.target.process_id, signal.SIGTERM)


ATTACKS = (
    Attack("SIGTERM, uploads on their way", 8, "HTTP", "every reply is typed",
           stop_during_upload, (Mode.OPEN,), ends_service=True),
    Attack("SIGTERM, long uploads", 8, "HTTP", "every reply is typed, exit code 1",
           stop_during_long_upload, (Mode.OPEN,), ends_service=True),
    Attack("SIGTERM, bodies being parsed", 8, "HTTP", "every reply is typed",
           stop_during_parsing, (Mode.OPEN,), ends_service=True),
    Attack("SIGTERM during a reload", 11, "-", "no stack trace, exit code 0",
           stop_during_reload, (Mode.OPEN,), ends_service=True),
)  # fmt: skip
