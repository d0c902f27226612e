"""All attacks, in the order in which they are tried."""

from __future__ import annotations

from . import access, bodies, connections, images, life, rpc
from .attacker import Attack
from .target import Mode

ATTACKS: tuple[Attack, ...] = (
    *connections.ATTACKS,
    *bodies.ATTACKS,
    *rpc.ATTACKS,
    *images.ATTACKS,
    *access.ATTACKS,
    *life.ATTACKS,
)


def chosen(only: list[str], modes: list[Mode]) -> list[tuple[Attack, Mode]]:
    """Return the attacks whose names contain one of `only`, with their callers of `modes`."""
    return [
        (attack, mode)
        for attack in ATTACKS
        if not only or any(word.lower() in attack.name.lower() for word in only)
        for mode in attack.modes
        if mode in modes
    ]
