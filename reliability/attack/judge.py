"""Whether the service withstood an attack: absolute bounds, and ratios to harmless traffic."""

from __future__ import annotations

from dataclasses import dataclass

from .attacker import Attack
from .measure import Observation
from .target import MAX_INFLIGHT_MIB, MAX_PIXELS, WORKERS

# What heaps fragment, and what a connection costs; thousands of objects fit in it, not millions.
SPARE_MIB = 64.0
# A body is in memory as bytes, and once more as what is made of it.
COPIES = 2.0
# Decoded, turned and resized, in three bytes a pixel.
PIXEL_COPIES = 3.0
# An attack may cost this many times the processor seconds a byte of harmless traffic of its kind.
COST_RATIO = 5.0
# Below this many seconds a second the service is idle, whatever a byte costs.
IDLE_SHARE = 0.25
# Health may be this late on a busy machine, or this many times as late as beside harmless traffic.
HEALTH_MS, HEALTH_RATIO = 500.0, 5.0
# The share of honest requests that may be refused, with a right error and in time.
REFUSED_SHARE, REFUSED_FEW = 0.2, 2


@dataclass(frozen=True)
class Reference:
    """Harmless traffic of the same run: idle (the honest callers alone), and each kind by name."""

    idle: Observation
    kinds: dict[str, Observation]

    @property
    def health_most_ms(self) -> float:
        """The slowest reply to health beside any harmless traffic."""
        return max(o.health_most_ms for o in (self.idle, *self.kinds.values()))

    def cost(self, observation: Observation) -> float:
        """Return processor seconds of the service process a MiB, those of honest callers not."""
        idle_rate = self.idle.service_s / max(self.idle.seconds, 1e-9)
        own_s = max(0.0, observation.service_s - idle_rate * observation.seconds)
        return own_s / max(observation.sent / 2**20, 1e-6)


def memory_bound_mib(attack: Attack) -> float:
    """Return by how many MiB the service process may grow, as its configuration allows."""
    return SPARE_MIB + COPIES * min(attack.holds_mib, MAX_INFLIGHT_MIB)


def workers_bound_mib() -> float:
    """Return by how many MiB the workers may grow: each with one image of the most pixels."""
    return WORKERS * (SPARE_MIB + PIXEL_COPIES * 3 * MAX_PIXELS / 2**20)


def problems(attack: Attack, seen: Observation, reference: Reference) -> list[str]:
    """Return what did not hold, each in a line."""
    found = list(seen.problems)
    bound = memory_bound_mib(attack)
    if seen.service_grown_mib > bound:
        found.append(
            f"the service process grew by {seen.service_grown_mib:.0f} MiB; {bound:.0f} are allowed"
        )
    if seen.workers_grown_mib > workers_bound_mib():
        found.append(
            f"the workers grew by {seen.workers_grown_mib:.0f} MiB; "
            f"{workers_bound_mib():.0f} are allowed"
        )
    found += _health(seen, reference)
    found += _cost(attack, seen, reference)
    found += _honest(seen, reference)
    if not seen.sent and not attack.silent:
        found.append("the attack sent nothing: the machine is too busy, or the service is gone")
    if seen.restarts:
        found.append(f"{seen.restarts} workers had to be started again")
    if seen.traces:
        found.append(f"{seen.traces} stack traces are in the service's log")
    return found


def _health(seen: Observation, reference: Reference) -> list[str]:
    found = []
    if seen.health_missed:
        found.append(
            f"health did not reply {len(seen.health_missed)} times: {seen.health_missed[0]}"
        )
    limit = max(HEALTH_MS, HEALTH_RATIO * reference.health_most_ms)
    if seen.health_most_ms > limit:
        found.append(f"health took {seen.health_most_ms:.0f} ms; {limit:.0f} are allowed")
    if not seen.health_ms and not seen.health_missed and seen.seconds:
        found.append("health did not reply at all")
    return found


def _cost(attack: Attack, seen: Observation, reference: Reference) -> list[str]:
    if not attack.like or seen.service_s < IDLE_SHARE * seen.seconds:
        return []
    cost, harmless = reference.cost(seen), reference.cost(reference.kinds[attack.like])
    if cost <= COST_RATIO * harmless:
        return []
    return [
        f"a MiB costs {cost:.2f} s of the processor, {cost / max(harmless, 1e-9):.0f} times as "
        f"much as {attack.like}; {COST_RATIO:.0f} times are allowed"
    ]


def _honest(seen: Observation, reference: Reference) -> list[str]:
    found = []
    most = ", ".join(f"{reason} ({n})" for reason, n in seen.reasons.most_common(3))
    for outcome in ("lost", "late"):
        if seen.honest[outcome]:
            found.append(
                f"{seen.honest[outcome]} of {seen.asked} honest requests were {outcome}: {most}"
            )
    refused = seen.honest["refused"]
    share = max(REFUSED_SHARE, 3 * max(o.refused_share for o in reference.kinds.values()))
    if refused > max(REFUSED_FEW, share * seen.asked):
        found.append(f"{refused} of {seen.asked} honest requests were refused: {most}")
    return found
