"""What tuning a bundle found: the choice, the machine, the figures. `bundle.tuning` keeps it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Mapping, Optional, Tuple

PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class TunedChoice:
    """One way to serve a bundle.

    Attributes:
        backend: the name of a runtime.
        form: of the bundle's graph, one of `bundle.forms.FORMS`.
        precision: one of `PRECISIONS`.
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


@dataclass(frozen=True)
class CpuFingerprint:
    """What of a CPU decides which candidate is fastest.

    Attributes:
        model: its name, on x86 with family, model and stepping: virtual machines hide the name.
        flags: instruction sets that runtimes choose their kernels by, sorted.
        cores: how many a process could keep busy, with quotas; at least 1.
    """

    model: str
    flags: Tuple[str, ...]
    cores: int


@dataclass(frozen=True)
class TunedImages:
    """The images that were measured with: how many, the name of their folder, if labelled."""

    source: str
    count: int
    labelled: bool


@dataclass(frozen=True)
class TunedRow(TunedChoice):
    """One candidate with its figures; None where there are none.

    Attributes:
        images_per_s: of all its workers together, decoding included.
        alone_ms: of one image, while nothing else runs.
        memory_mib: of all its workers.
        start_s: until the first worker was ready.
        largest_difference: of a score from that of the export.
        same_best: in how many of `compared` images the best class is that of the export.
        compared: how many images were compared.
        top1: the part of labelled images whose best class is their label.
        refused: why it may not be chosen; "": it may.
    """

    images_per_s: Optional[float] = None
    alone_ms: Optional[float] = None
    memory_mib: Optional[float] = None
    start_s: Optional[float] = None
    largest_difference: Optional[float] = None
    same_best: Optional[int] = None
    compared: Optional[int] = None
    top1: Optional[float] = None
    refused: str = ""


@dataclass(frozen=True)
class Tuning:
    """What `tuning.yml` holds.

    Attributes:
        choice: the candidate that the service takes.
        cpu: where it was measured.
        model_sha256: `model_digest` of the bundle and `choice.form` then.
        made: the date and time, ISO 8601 in UTC.
        versions: of the kit and the runtimes, by name.
        images: what it was measured with.
        candidates: every candidate with its figures.
    """

    choice: TunedChoice
    cpu: CpuFingerprint
    model_sha256: str
    made: str
    versions: Mapping[str, str]
    images: TunedImages
    candidates: Tuple[TunedRow, ...] = ()
