"""One way to serve a bundle."""

from __future__ import annotations

from dataclasses import dataclass


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
