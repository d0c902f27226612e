"""One way to serve a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from bundle.tuned import TunedChoice


@dataclass(frozen=True)
class Candidate(TunedChoice):
    """One way to serve a bundle, which may become the choice."""

    def __str__(self) -> str:
        """Return it in one line, for progress."""
        precision = "" if self.precision == "fp32" else f" {self.precision}"
        decoding = ", fast_decode" if self.fast_decode else ""
        return (
            f"{self.backend} {self.form}{precision}, {self.workers} x {self.threads},"
            f" batches of {self.batch_size}{decoding}"
        )
