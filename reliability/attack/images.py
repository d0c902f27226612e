"""Attacks by images: few bytes that cost a worker much time or memory."""

from __future__ import annotations

import functools
import json
from base64 import b64encode
from functools import partial

from ..bad_input import declared_png
from . import bombs
from .attacker import Attack, Attacker
from .bodies import ADMITTED, JSON

SIDE = 7000  # 49 megapixels, just below the limit


def _envelope(images: list[bytes]) -> bytes:
    keys = [f"image{number}" for number in range(len(images))]
    values = [b64encode(image).decode() for image in images]
    return json.dumps({"key": keys, "value": values}).encode()


@functools.cache
def _heavy_batch() -> bytes:
    return _envelope([bombs.png(SIDE)] * 16)


@functools.cache
def _hidden() -> bytes:
    return bombs.hidden_progressive(SIDE, 1000)


@functools.cache
def _progressive(scans: int) -> bytes:
    return bombs.progressive(SIDE, scans)


@functools.cache
def _tiff() -> bytes:
    return bombs.tiff(SIDE, SIDE)


@functools.cache
def _texts() -> bytes:
    return bombs.texts(128)


async def heavy_pngs(attacker: Attacker) -> None:
    """Send requests of 16 PNGs of 49 megapixels, two at once."""
    body = _heavy_batch()
    await attacker.post(attacker.head(JSON, size=len(body)) + body, 2)


async def _post_image(
    attacker: Attacker, image: bytes, at_once: int = 2, *, refused: bool = True
) -> None:
    head = attacker.head("Content-Type: application/octet-stream", size=len(image))
    await attacker.post(head + image, at_once, refused=refused)


async def hidden_frame(attacker: Attacker) -> None:
    """Send a JPEG whose large progressive frame stands behind FF 00."""
    await _post_image(attacker, _hidden())


async def many_scans(attacker: Attacker) -> None:
    """Send a progressive JPEG of 1,000 scans."""
    await _post_image(attacker, _progressive(1000))


async def allowed_scans(attacker: Attacker) -> None:
    """Send a progressive JPEG of as many scans as some encoder writes."""
    await _post_image(attacker, _progressive(20), refused=False)


async def shared_strips(attacker: Attacker) -> None:
    """Send a TIFF of 7,000 strips, which are the same bytes of the file."""
    await _post_image(attacker, _tiff(), refused=False)


async def packed_texts(attacker: Attacker) -> None:
    """Send a PNG of one pixel with a gigabyte of compressed text."""
    await _post_image(attacker, _texts(), refused=False)


async def declared(attacker: Attacker) -> None:
    """Send PNGs that say they have 3.6 gigapixels."""
    await _post_image(attacker, declared_png(60_000, 60_000), 4)


ATTACKS = (
    Attack("heavy legal PNGs", 5, "HTTP", "bystanders are served, no worker dies", heavy_pngs,
           ADMITTED, holds_mib=16, prepare=_heavy_batch),
    Attack("frame behind FF 00", 4, "HTTP", "refused, no worker dies", hidden_frame,
           ADMITTED, holds_mib=1, prepare=_hidden),
    Attack("1,000 scans", 4, "HTTP", "refused, no worker dies", many_scans,
           ADMITTED, holds_mib=1, prepare=partial(_progressive, 1000)),
    Attack("20 scans of 49 Mpx", 4, "HTTP", "decoded within its budget", allowed_scans,
           ADMITTED, holds_mib=1, prepare=partial(_progressive, 20)),
    Attack("TIFF strips that overlap", 4, "HTTP", "decoded within its budget", shared_strips,
           ADMITTED, holds_mib=1, prepare=_tiff),
    Attack("texts in a PNG", 4, "HTTP", "not unpacked", packed_texts,
           ADMITTED, holds_mib=4, prepare=_texts),
    Attack("PNG of 60,000 x 60,000", 4, "HTTP", "refused by its header", declared,
           ADMITTED, holds_mib=1),
)  # fmt: skip
