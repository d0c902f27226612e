"""Who is in the last rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .candidate import Candidate
from .entrant import Entrant, Lane

_FINALISTS = 5


def learned(lane: Lane, untuned: Candidate) -> Entrant | None:
    """Return what the untuned default does: its engine learns which batches are fastest.

    None: `lane` is not the one of the untuned default.
    """
    if lane.base != replace(untuned, batch_size=1):
        return None
    within = [e for e in lane.entrants if e.candidate.batch_size <= untuned.batch_size]
    return max(within, key=lambda entrant: entrant.speed, default=None)


def the_finalists(
    lanes: Sequence[Lane], entrants: dict[Candidate, Entrant], untuned: Candidate
) -> list[tuple[Lane, Entrant]]:
    """Return the untuned default, and the fastest of the others that still run.

    The untuned default becomes one of `entrants` where its own batch size was not measured.
    """
    default: list[tuple[Lane, Entrant]] = []
    others: list[tuple[Lane, Entrant]] = []
    for lane in lanes:
        best, most = learned(lane, untuned), 0
        if best is not None:
            most = untuned.batch_size
            entrant = entrants.setdefault(untuned, replace(best, candidate=untuned, rates=[]))
            entrant.run_size = best.candidate.batch_size
            default.append((lane, entrant))
        larger = [e for e in lane.entrants if e.speed and e.candidate.batch_size > most]
        others += [(lane, entrant) for entrant in larger]
    others.sort(key=lambda pair: -pair[1].speed)
    # The best of each line first: one look at each batch does not decide between lines.
    firsts = list({id(lane): (lane, entrant) for lane, entrant in reversed(others)}.values())
    firsts.sort(key=lambda pair: -pair[1].speed)
    ranked = [*firsts, *[pair for pair in others if pair not in firsts]]
    return [*default, *ranked[: _FINALISTS - len(default)]]
