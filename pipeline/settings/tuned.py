"""What a service takes of its bundle's tuning.yml, and what it says about it.

    config.yml's own keys > tuning.yml, where CPU and model fit > defaults

Each key of config.yml overrides the tuning alone. Workers and threads are one choice: if one is set
to something else, or the cores are others, the other one follows from the cores.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from bundle.forms import INT8_FORM
from bundle.tuned import CpuFingerprint, TunedChoice, Tuning
from bundle.tuning import TUNING, read_tuning, tune_command

from ..predictors import registry
from .tuning_fit import misfit

DEFAULT_BATCH_SIZE = 8


@dataclass(frozen=True, slots=True)
class Written:
    """What config.yml, or an override, sets; None: it leaves it open."""

    backend: str | None = None
    precision: str | None = None
    batch_size: int | None = None
    workers: int | None = None
    threads: int | None = None
    fast_decode: bool | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """How a service serves its bundle; `form` None: the registry chooses."""

    backend: str
    form: str | None
    precision: str
    batch_size: int
    workers: int
    threads: int
    fast_decode: bool


@dataclass(frozen=True, slots=True)
class TuningUse:
    """What became of the tuning of one service.

    Attributes:
        state: "tuned"; "partly" where workers and threads do not fit; "untuned".
        made: when it was measured, ISO 8601; None where nothing of it is taken.
        overridden: the keys of config.yml that override it.
        text: all this in one line, for people; "": there is nothing to say.
        warning: what does not fit, and what to do; None where nothing is wrong.
    """

    state: str
    made: str | None = None
    overridden: tuple[str, ...] = ()
    text: str = ""
    warning: str | None = None


def default_way(written: Written, *, workers: int, cores: int) -> Way:
    """Return the way without a tuning; `workers` is how many there are if nothing sets it."""
    workers = written.workers or workers
    return Way(
        backend=written.backend or registry.AUTO,
        form=None,
        precision=written.precision or "fp32",
        batch_size=written.batch_size or DEFAULT_BATCH_SIZE,
        workers=workers,
        threads=written.threads or max(1, cores // workers),
        fast_decode=bool(written.fast_decode),
    )


def tuned_way(
    bundle: Path, written: Written, *, cores: int, cpu: CpuFingerprint
) -> tuple[Way, TuningUse]:
    """Return how to serve `bundle` on `cores` of the CPU, and what its tuning has to do with it.

    Raises:
        BundleError: tuning.yml is damaged.
    """
    default = default_way(written, workers=cores, cores=cores)
    tuning = read_tuning(bundle)
    if tuning is None:
        return default, TuningUse("untuned", text=f"untuned; {tune_command(bundle)}")
    reason = misfit(bundle, tuning, cpu)
    if reason is not None:
        return default, _untuned(bundle, reason)
    way, overridden = _with_choice(tuning.choice, written, default)
    way, pair = _with_workers(tuning, written, way, cores=cores, machine_cores=cpu.cores)
    overridden += pair.overridden
    notes = [f"config.yml sets {', '.join(overridden)}"] if overridden else []
    notes += [pair.note] if pair.note else []
    text = "; ".join([f"tuned {tuning.made[:10]}", *notes])
    if not pair.is_misfit:
        return way, TuningUse("tuned", tuning.made, overridden, text)
    warning = f"{TUNING}: {pair.note}; measure here with `{tune_command(bundle)}`"
    return way, TuningUse("partly", tuning.made, overridden, text, warning)


def for_gpu(bundle: Path, written: Written, *, workers: int, cores: int) -> tuple[Way, TuningUse]:
    """Return how to serve `bundle` on GPUs, of which no tuning says anything.

    Raises:
        BundleError: tuning.yml is damaged.
    """
    text = "untuned: tuning.yml is for a CPU, and this service runs on a GPU"
    use = TuningUse("untuned", text="" if read_tuning(bundle) is None else text)
    return default_way(written, workers=workers, cores=cores), use


@dataclass(frozen=True, slots=True)
class _Pair:
    """What became of workers and threads."""

    overridden: tuple[str, ...] = ()
    note: str = ""
    is_misfit: bool = False


def _with_workers(
    tuning: Tuning, written: Written, way: Way, *, cores: int, machine_cores: int
) -> tuple[Way, _Pair]:
    """Take workers and threads of the tuning where both fit the service's `cores`."""
    choice = tuning.choice
    sets = (
        ("concurrency", written.workers, choice.workers),
        ("thread_num", written.threads, choice.threads),
    )
    overridden = tuple(key for key, value, tuned in sets if value not in (None, tuned))
    if overridden:
        return way, _Pair(overridden)  # the other one of the two follows from the cores
    if machine_cores != tuning.cpu.cores and written.workers is written.threads is None:
        was = f"{tuning.cpu.cores} core{'s' if tuning.cpu.cores != 1 else ''}"
        note = f"workers and threads are the default, for it was measured with {was}, here are "
        return way, _Pair(note=f"{note}{machine_cores}", is_misfit=True)
    if choice.workers * choice.threads > cores:
        return way, _Pair(note="workers and threads by the service's share of the cores")
    return replace(way, workers=choice.workers, threads=choice.threads), _Pair()


def _untuned(bundle: Path, reason: str) -> TuningUse:
    command = tune_command(bundle)
    return TuningUse(
        "untuned",
        text=f"untuned, {TUNING} does not fit: {reason}; {command}",
        warning=f"{TUNING} is not taken: {reason}; measure here with `{command}`",
    )


def _with_choice(
    choice: TunedChoice, written: Written, default: Way
) -> tuple[Way, tuple[str, ...]]:
    """Return the way with all of the choice but workers and threads, and the keys over it."""
    same_runtime = written.backend in (None, choice.backend)
    # INT8 is a form: where a precision is set, the model computes in that one.
    int8_given_up = written.precision is not None and choice.form == INT8_FORM
    way = Way(
        backend=written.backend or choice.backend,
        form=choice.form if same_runtime and not int8_given_up else None,
        precision=written.precision or (choice.precision if same_runtime else default.precision),
        batch_size=written.batch_size or choice.batch_size,
        workers=default.workers,
        threads=default.threads,
        fast_decode=choice.fast_decode if written.fast_decode is None else written.fast_decode,
    )
    differing = {
        "backend": not same_runtime,
        "precision": int8_given_up or written.precision not in (None, choice.precision),
        "batch_size": way.batch_size != choice.batch_size,
        "fast_decode": way.fast_decode != choice.fast_decode,
    }
    return way, tuple(key for key, differs in differing.items() if differs)
