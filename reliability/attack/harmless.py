"""Harmless traffic, as much as an attack sends: what an attack is compared with."""

from __future__ import annotations

import json
from base64 import b64encode

from . import http2
from .attacker import Attack, Attacker
from .bodies import JSON
from .rpc import CHECK, STREAMS, streams, talk
from .target import Mode

KNOWN = (Mode.OPEN, Mode.HOLDER)


async def heads(attacker: Attacker) -> None:
    """Send small requests, one after another on two connections."""
    content = attacker.head(method="GET", path="/")

    async def once() -> None:
        line = await attacker.connect()
        try:
            while not attacker.over:
                await line.send(content)
                await line.reply()
        finally:
            line.close()

    await attacker.repeat(once, 2)


async def bodies(attacker: Attacker) -> None:
    """Send JSON of 4 MB whose value is no image."""
    value = b64encode(bytes(3_000_000)).decode()
    body = json.dumps({"key": ["image"], "value": [value]}).encode()
    await attacker.post(attacker.head(JSON, size=len(body)) + body, 2)


async def messages(attacker: Attacker) -> None:
    """Send health checks over RPC, as many as a connection takes."""
    block = http2.call_head(CHECK, key=attacker.target.key)

    async def once() -> None:
        await talk(attacker, streams(lambda n: http2.call(n, block, b""), STREAMS), wait_s=0.2)

    await attacker.repeat(once, 2)


HARMLESS = {
    "heads": Attack("harmless heads", 0, "HTTP", "the measure", heads, KNOWN),
    "bodies": Attack("harmless bodies", 0, "HTTP", "the measure", bodies, KNOWN, holds_mib=8),
    "messages": Attack("harmless messages", 0, "RPC", "the measure", messages, KNOWN),
}
