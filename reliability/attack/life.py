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
from .target import Mode

UPLOADS = 8


async def _judged(attacker: Attacker, replying: list[asyncio.Task[bytes]]) -> None:
    """Every request that was on its way needs a reply of ours: a result, or ServiceClosed."""
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
        if err_no not in (0, 3001):
            attacker.problems.append(f"{status}, err_no {err_no}")


async def _slow_upload(attacker: Attacker, content: bytes, begun: asyncio.Event) -> bytes:
    line = await attacker.connect()
    try:
        step = len(content) // 20 + 1
        for start in range(0, len(content), step):
            with contextlib.suppress(OSError):  # the reply may be there already
                await line.send(content[start : start + step])
            begun.set()
            await asyncio.sleep(0.1)
        return await line.reply()
    finally:
        line.close()


async def stop_during_upload(attacker: Attacker) -> None:
    """Send SIGTERM while eight uploads of two seconds are on their way."""
    image = IMAGE.read_bytes()
    content = attacker.head("Content-Type: image/jpeg", size=len(image)) + image
    begun = [asyncio.Event() for _ in range(UPLOADS)]
    replying = [asyncio.create_task(_slow_upload(attacker, content, one)) for one in begun]
    await asyncio.gather(*(one.wait() for one in begun))
    os.kill(attacker.target.process_id, signal.SIGTERM)
    await _judged(attacker, replying)


async def stop_during_parsing(attacker: Attacker) -> None:
    """Send SIGTERM right behind eight bodies of 8 MB."""
    image = b64encode(IMAGE.read_bytes()).decode()
    body = json.dumps({"key": ["image"], "value": [image], "x": "a" * 8_000_000}).encode()
    lines = [await attacker.connect() for _ in range(UPLOADS)]
    for line in lines:
        await line.send(attacker.head(JSON, size=len(body)) + body)
    os.kill(attacker.target.process_id, signal.SIGTERM)
    await _judged(attacker, [asyncio.create_task(line.reply()) for line in lines])


async def stop_during_reload(attacker: Attacker) -> None:
    """Send SIGTERM while new workers start."""
    os.kill(attacker.target.process_id, signal.SIGHUP)
    await asyncio.sleep(0.3)
    os.kill(attacker.target.process_id, signal.SIGTERM)


ATTACKS = (
    Attack("SIGTERM, uploads on their way", 8, "HTTP", "every reply is typed",
           stop_during_upload, (Mode.OPEN,), ends_service=True),
    Attack("SIGTERM, bodies being parsed", 8, "HTTP", "every reply is typed",
           stop_during_parsing, (Mode.OPEN,), ends_service=True),
    Attack("SIGTERM during a reload", 11, "-", "no stack trace, exit code 0",
           stop_during_reload, (Mode.OPEN,), ends_service=True),
)  # fmt: skip
