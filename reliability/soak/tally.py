"""The counts of a soak: verdicts, errors, and requests by kind."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from .judge import SentRequest, Verdict

MOST_EXAMPLES = 20


@dataclass
class Tally:
    """The verdicts on all requests; `examples` describe the first bad ones."""

    verdicts: Counter[Verdict] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    images: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, request: SentRequest, verdict: Verdict, reason: str) -> None:
        """Count one request."""
        self.kinds[request.kind] += 1
        self.images += len(request.images)
        self.verdicts[verdict] += 1
        if verdict is Verdict.RIGHT_ERROR:
            self.errors[reason] += 1
        if not verdict.good and len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"{verdict.value}: {request.kind} to {request.service}: {reason}")

    @property
    def sent(self) -> int:
        """How many requests were sent."""
        return self.verdicts.total()
