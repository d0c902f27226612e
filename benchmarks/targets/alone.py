"""Part `overhead`: what a wire adds to the classifier in process, at one connection."""

from __future__ import annotations

import statistics

from rich.console import Console

from .. import overhead
from ..bare import ROOT
from .bundles import Copies
from .contender import Images
from .target import Target

PART = "overhead"
# Milliseconds over the classifier in process.
_PROMISED_MS = {"HTTP, raw": 0.8, "RPC": 1.0}
_IMAGES_A_TURN = 10
_TURNS_A_ROUND = 10
_BLOCK = _IMAGES_A_TURN * _TURNS_A_ROUND


def measure(bundle: Copies, images: Images, rounds: int, console: Console) -> list[Target]:
    """Measure both ways in turns; in each round the medians of its images are compared."""
    plan = overhead.Plan(
        config=ROOT / "configs" / "waste.yml",
        bundle=bundle.untuned,
        service="waste",
        images=images.files,
        rounds=_TURNS_A_ROUND * rounds,
        images_a_turn=_IMAGES_A_TURN,
        overrides=(f"op.waste.local_service_conf.model_config={bundle.untuned}",),
    )
    ways = overhead.run(plan, console)
    blocks = [slice(i * _BLOCK, (i + 1) * _BLOCK) for i in range(rounds)]

    def added(name: str) -> tuple[float, ...]:
        """Return what a wire adds to the median, in each block of images."""
        return tuple(
            statistics.median(ways[name].ms[block]) - statistics.median(ways[""].ms[block])
            for block in blocks
        )

    return [
        Target(PART, f"untuned, {name}, 1 connection: ms added", most, added(name), at_most=True)
        for name, most in _PROMISED_MS.items()
    ]
