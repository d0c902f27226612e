"""Attacks on API keys and rates."""

from __future__ import annotations

import json
import secrets
from base64 import b64encode

from benchmarks.bare import ROOT

from .attacker import Attack, Attacker
from .bodies import JSON
from .target import BURST, RATE, RATED_KEY, Mode

IMAGE = ROOT / "examples" / "images" / "cardboard_box.jpg"


async def bad_keys(attacker: Attacker) -> None:
    """Guess keys."""

    async def once() -> None:
        key = f"Authorization: Bearer {secrets.token_hex(24)}"
        reply = await attacker.exchange(attacker.head(key, JSON, size=0))
        if b" 401 " not in reply.split(b"\r\n", 1)[0]:
            attacker.problems.append(f"a guessed key got {reply[:60]!r}")

    await attacker.repeat(once, 8)


async def rate(attacker: Attacker) -> None:
    """Send more than the rate of a key, as single images, several, and spellings of the key."""
    began = attacker.left_s
    image = b64encode(IMAGE.read_bytes()).decode()
    admitted = 0
    turn = 0

    async def once() -> None:
        nonlocal admitted, turn
        turn += 1
        count = 1 + turn % 3
        keys = [f"image{number}" for number in range(count)]
        body = json.dumps({"key": keys, "value": [image] * count}).encode()
        field = ("Authorization: Bearer", "authorization:   bearer", "AUTHORIZATION: BEARER")
        head = attacker.head(f"{field[turn % 3]} {RATED_KEY}", JSON, size=len(body))
        reply = await attacker.exchange(head + body)
        if b" 200 " in reply.split(b"\r\n", 1)[0]:
            admitted += count

    await attacker.repeat(once, 4)
    allowed = BURST + RATE * (began + 1)
    if admitted > allowed:
        attacker.problems.append(f"{admitted} images were admitted, the rate allows {allowed:.0f}")
    if not admitted:
        attacker.problems.append("a key within its rate was refused")


ATTACKS = (
    Attack("guessed keys", 0, "HTTP", "401, the loop goes on", bad_keys, (Mode.STRANGER,),
           like="heads"),
    Attack("rate evaded", 0, "HTTP", "no more than rate and burst", rate, (Mode.STRANGER,)),
)  # fmt: skip
