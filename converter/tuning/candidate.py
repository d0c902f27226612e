"""One way to serve a bundle, and what measuring it gave."""

from __future__ import annotations

from dataclasses import dataclass

from .agreement import Agreement


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve a bundle.

    Attributes:
        backend: the name of a runtime in the registry.
        form: the form of the bundle's graph: "export", "onnx" or "onnx-int8".
        precision: "fp32", "fp16" or "bf16".
        batch_size: the most images in one run of the model.
        workers: processes, each with a predictor of its own.
        threads: of each worker.
        fast_decode: large JPEGs are decoded at a part of their size.
    """

    backend: str
    form: str
    precision: str
    batch_size: int
    workers: int
    threads: int
    fast_decode: bool

    def __str__(self) -> str:
        """Return it in one line, for progress."""
        precision = "" if self.precision == "fp32" else f" {self.precision}"
        decoding = ", fast_decode" if self.fast_decode else ""
        return (
            f"{self.backend} {self.form}{precision}, {self.workers} x {self.threads},"
            f" batches of {self.batch_size}{decoding}"
        )


@dataclass(frozen=True, slots=True)
class Measured:
    """What measuring one candidate gave; figures are None where it did not come so far.

    Attributes:
        candidate: what was measured.
        images_per_s: of all its workers together, decoding included; the median of its turns.
        alone_ms: of one image in one worker, while nothing else runs; the median.
        memory_mib: of all its workers; pages that they share count once (PSS).
        start_s: until the first worker was ready, alone.
        agreement: its scores beside those of the export's own runtime; None: not compared.
        error: one line: why there are no figures; "": there are.
    """

    candidate: Candidate
    images_per_s: float | None = None
    alone_ms: float | None = None
    memory_mib: float | None = None
    start_s: float | None = None
    agreement: Agreement | None = None
    error: str = ""
