"""The YAML of tuning.yml, of which each value has its bounds."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Dict, Mapping, Sequence, Type, TypeVar

import yaml

from .forms import FORMS
from .tuned import PRECISIONS, CpuFingerprint, TunedChoice, TunedImages, TunedRow, Tuning
from .tuning_checks import (
    Check,
    date,
    flag,
    name,
    names,
    number,
    one_of,
    sha256,
    text,
    texts,
    whole,
)

FORMAT = 1
# Candidates of every runtime, form, precision, batch and pair of workers and threads are hundreds.
MAX_CANDIDATES = 2000
MAX_BATCH, MAX_PROCESSES = 64, 256


class WrongTuningError(Exception):
    """What is wrong with a value of the document."""


_Record = TypeVar("_Record")

_CHOICE: Mapping[str, Check] = {
    "backend": name,
    "form": one_of(tuple(FORMS)),
    "precision": one_of(PRECISIONS),
    "batch_size": whole(1, MAX_BATCH),
    "workers": whole(1, MAX_PROCESSES),
    "threads": whole(1, MAX_PROCESSES),
    "fast_decode": flag,
}
_CPU: Mapping[str, Check] = {"model": text, "flags": names, "cores": whole(1, 1 << 20)}
_IMAGES: Mapping[str, Check] = {"source": text, "count": whole(0), "labelled": flag}
_FIGURES: Mapping[str, Check] = {
    "images_per_s": number,
    "alone_ms": number,
    "memory_mib": number,
    "start_s": number,
    "largest_difference": number,
    "same_best": whole(0),
    "compared": whole(0),
    "top1": number,
    "refused": text,
}
_TOP: Mapping[str, Check] = {
    "made": date,
    "model_sha256": sha256,
    "versions": texts,
}


def from_yaml(document: object) -> Tuning:
    """Return the tuning that a document holds.

    Raises:
        WrongTuningError: a key is unknown or missing, or a value is not what it should be.
    """
    if not isinstance(document, dict):
        raise WrongTuningError("holds no keys such as choice and cpu")
    if document.get("format") != FORMAT:
        raise WrongTuningError(
            "format is {!r:.40}, and this kit reads {}".format(document.get("format"), FORMAT)
        )
    own = {key: value for key, value in document.items() if key in _TOP}
    sections = {"format", "choice", "cpu", "images", "candidates"}
    unknown = [key for key in document if key not in _TOP and key not in sections]
    if unknown:
        raise WrongTuningError("has the unknown key {!r:.40}".format(unknown[0]))
    _check(own, _TOP, "")
    rows = document.get("candidates", [])
    if not isinstance(rows, list) or len(rows) > MAX_CANDIDATES:
        raise WrongTuningError("candidates must be a list of at most {}".format(MAX_CANDIDATES))
    cpu = _record(CpuFingerprint, document.get("cpu"), _CPU, "cpu")
    return Tuning(
        choice=_record(TunedChoice, document.get("choice"), _CHOICE, "choice"),
        cpu=CpuFingerprint(cpu.model, tuple(cpu.flags), cpu.cores),
        images=_record(TunedImages, document.get("images"), _IMAGES, "images"),
        candidates=tuple(_row(row, "candidates[{}]".format(i)) for i, row in enumerate(rows)),
        **own,
    )


def _row(value: object, where: str) -> TunedRow:
    return _record(TunedRow, value, {**_CHOICE, **_FIGURES}, where, optional=tuple(_FIGURES))


def _record(
    kind: Type[_Record],
    value: object,
    checks: Mapping[str, Check],
    where: str,
    optional: Sequence[str] = (),
) -> _Record:
    if not isinstance(value, dict):
        raise WrongTuningError("{} must hold {}".format(where, ", ".join(checks)))
    _check(value, checks, where + ".", optional)
    return kind(**value)


def _check(
    values: Mapping[Any, Any],
    checks: Mapping[str, Check],
    prefix: str,
    optional: Sequence[str] = (),
) -> None:
    for key in values:
        if key not in checks:
            raise WrongTuningError("has the unknown key {}{!s:.40}".format(prefix, key))
    for key, check in checks.items():
        if key not in values:
            if key in optional:
                continue
            raise WrongTuningError("{}{} is missing".format(prefix, key))
        wanted = check(values[key])
        if wanted is not None:
            raise WrongTuningError(
                "{}{} must be {}, not {!r:.60}".format(prefix, key, wanted, values[key])
            )


def to_yaml(tuning: Tuning) -> str:
    """Return the document that `from_yaml` reads, a candidate a line."""
    head = {
        "format": FORMAT,
        "made": tuning.made,
        "choice": asdict(tuning.choice),
        "cpu": {**asdict(tuning.cpu), "flags": list(tuning.cpu.flags)},
        "model_sha256": tuning.model_sha256,
        "versions": dict(tuning.versions),
        "images": asdict(tuning.images),
    }
    rows = {"candidates": [_written(row) for row in tuning.candidates]}
    return _dumped(head, width=100) + _dumped(rows, width=2000)


def _dumped(document: Mapping[str, Any], width: int) -> str:
    # flow style for the innermost
    text: str = yaml.safe_dump(
        document, sort_keys=False, allow_unicode=True, width=width, default_flow_style=None
    )
    return text


def _written(row: TunedRow) -> Dict[str, Any]:
    """The row without what it does not have, its figures as a person reads them."""
    return {
        key: float("{:.4g}".format(value)) if isinstance(value, float) else value
        for key, value in asdict(row).items()
        if value is not None and value != ""
    }
