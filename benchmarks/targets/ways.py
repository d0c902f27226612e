"""Parts `default` and `six`: untuned, tuned and Paddle, of each model in turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from ..load import Outcome
from .bundles import Copies
from .contender import Contender, Images, Load, Standing, standing
from .limit import Say
from .target import Target, ratios

DEFAULT, SIX = "default", "six"
# Before tuning and ONNX forms there were, every bundle of Paddle was served by Paddle.
_PADDLE = ("op.classify.local_service_conf.backend=paddle",)
_FASTER_DEFAULT = 1.8
_NOT_FOOLISH = 0.95
_NEVER_BELOW = 1.0
_BUSY = Load("raw", 16)

Outcomes = Mapping[tuple[str, Load], list[Outcome]]


def measure_default(
    bundle: Copies, images: Images, work: Path, rounds: int, seconds: float, say: Say
) -> list[Target]:
    """Compare the untuned default with Paddle, at one and at many connections."""
    loads = [_BUSY, Load("raw", 4), Load("raw", 1)]
    contenders = [
        Contender("untuned", bundle.untuned),
        Contender("paddle", bundle.untuned, _PADDLE),
    ]
    with standing(contenders, work, images) as up:
        found = in_turns(up, loads, images, rounds, seconds, say)
    return [
        _compared(DEFAULT, bundle.name, "untuned", "paddle", load, _FASTER_DEFAULT, found)
        for load in loads
    ]


def measure_model(
    bundle: Copies, images: Images, work: Path, rounds: int, seconds: float, say: Say
) -> list[Target]:
    """Compare untuned with Paddle, and tuned with untuned where that is another way."""
    contenders = [
        Contender("untuned", bundle.untuned),
        Contender("paddle", bundle.untuned, _PADDLE),
    ]
    if bundle.differs:
        contenders.append(Contender("tuned", bundle.tuned))
    with standing(contenders, work, images) as up:
        found = in_turns(up, [_BUSY], images, rounds, seconds, say)
    untuned = _compared(SIX, bundle.name, "untuned", "paddle", _BUSY, _NOT_FOOLISH, found)
    if not bundle.differs:
        same = f"{bundle.name}: tuned over untuned"
        return [untuned, Target(SIX, same, _NEVER_BELOW, (1.0,), reason="the same way")]
    tuned = _compared(SIX, bundle.name, "tuned", "untuned", _BUSY, _NEVER_BELOW, found)
    return [untuned, tuned]


def _pair(bundle: Copies) -> list[Contender]:
    return [
        Contender("untuned", bundle.untuned),
        Contender("paddle", bundle.untuned, _PADDLE),
    ]


def in_turns(
    up: Mapping[str, Standing],
    loads: Sequence[Load],
    images: Images,
    rounds: int,
    seconds: float,
    say: Say,
) -> Outcomes:
    """Load each of them in each round, and return what was measured."""
    found: dict[tuple[str, Load], list[Outcome]] = {}
    for number in range(rounds):
        for load in loads:
            # From both ends in turns: who goes first meets other minutes than who goes last.
            for name in list(up)[:: -1 if number % 2 else 1]:
                say(f"round {number + 1} of {rounds}: {name} on {load.connections}")
                outcome = up[name].send(load, images, seconds)
                found.setdefault((name, load), []).append(outcome)
    return found


def _compared(
    part: str, model: str, one: str, other: str, load: Load, bound: float, found: Outcomes
) -> Target:
    rates = [[o.requests_per_s for o in found[name, load]] for name in (one, other)]
    bad = sum(o.wrong + o.failed for name in (one, other) for o in found[name, load])
    title = f"{model}: {one} over {other}, {load.connections} connections"
    reason = f"{bad} wrong or lost replies" if bad else ""
    # A rate that wrong replies are in is no rate.
    return Target(part, title, bound, () if bad else ratios(*rates), reason=reason)
