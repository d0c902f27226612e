"""Measures every way to serve a bundle here, chooses the fastest that gives the same results."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from bundle import Bundle
from bundle.tuned import CpuFingerprint
from pipeline.predictors import PredictorError
from pipeline.settings.cpu import cpu_fingerprint
from pipeline.settings.machine import Machine
from pipeline.stages.errors import PreprocessError
from pipeline.stages.formats import jpeg
from pipeline.stages.formats.image_format import format_of
from pipeline.stages.preprocess import build_preprocess

from ..errors import ConversionError
from .agreement import Agreement, agreement, refusal
from .candidate import Candidate
from .choice import changes, choose
from .crew import Crew, Limits
from .entrant import Entrant, Plan
from .progress import Say
from .race import Race
from .samples import Samples, read_samples
from .space import layouts, lines, reference, untuned


@dataclass(frozen=True)
class TuneOptions:
    """What is given.

    Attributes:
        bundle_dir: serving_model/NAME.
        images: a folder of images; None: made ones.
        seconds: when to be done.
        limits: of a worker that hangs.
        clock: of seconds.
    """

    bundle_dir: Path
    images: Path | None = None
    seconds: float = 60.0
    limits: Limits = field(default_factory=Limits)
    clock: Callable[[], float] = time.monotonic


@dataclass
class Tuned:
    """What is known at any moment of a measurement, and at its end the choice.

    Attributes:
        bundle: the bundle.
        cpu: where it is measured.
        samples: the images.
        entrants: what is known of each candidate.
        untuned: what the service does by itself.
        chosen: None before the end.
        took_s: seconds.
    """

    bundle: Bundle
    cpu: CpuFingerprint
    samples: Samples
    untuned: Candidate
    reference: Candidate
    entrants: Mapping[Candidate, Entrant] = field(default_factory=dict)
    chosen: Entrant | None = None
    took_s: float = 0.0


def prepare(bundle: Bundle, options: TuneOptions) -> Tuned:
    """Read the images, and find what there is to measure.

    Raises:
        ConversionError: no runtime for the bundle is installed, or there are no images.
    """
    cpu = cpu_fingerprint(Machine())
    try:
        default = untuned(bundle, cpu.cores)
    except PredictorError as error:
        raise ConversionError(f"{bundle.path}: {error}") from error
    samples = read_samples(options.images, bundle)
    return Tuned(bundle, cpu, samples, default, reference(bundle, cpu.cores) or default)


def tune(tuned: Tuned, options: TuneOptions, say: Say) -> None:
    """Measure, and choose; what is known of each candidate is in `tuned` also if this is ended.

    Raises:
        ConversionError: no candidate could be measured, or no image can be read.
    """
    began = options.clock()
    plan = Plan(
        reference=tuned.reference,
        lines=lines(tuned.bundle, tuned.cpu),
        untuned=tuned.untuned,
        layouts=layouts(tuned.cpu.cores),
        fast_decode=_has_large_jpegs(tuned.bundle, tuned.samples),
        seconds=options.seconds,
    )

    def open_runs(candidate: Candidate) -> Crew:
        return Crew(candidate, tuned.bundle.path, options.limits)

    judge = _Judge(tuned)
    race = Race(plan, tuned.samples, open_runs, judge, say, options.clock)
    tuned.entrants = race.entrants
    try:
        _run(race)
    finally:
        tuned.samples = race.samples
        tuned.took_s = options.clock() - began
    tuned.chosen = choose(race.entrants, tuned.untuned)


def _run(race: Race) -> None:
    """Run the race; Ctrl-C and SIGTERM end its processes first, and then what they end without."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in numbers} if is_main else {}
    stopped: list[signal.Signals] = []

    async def run() -> None:
        task = asyncio.ensure_future(race.run())

        def stop(number: signal.Signals) -> None:
            stopped.append(number)
            task.cancel()

        loop = asyncio.get_running_loop()
        for number, handler in before.items():
            if callable(handler):
                loop.add_signal_handler(number, stop, number)
        await task

    try:
        asyncio.run(run())
    except asyncio.CancelledError:
        if not stopped:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if stopped:
        handler = before[stopped[0]]
        if callable(handler):
            handler(stopped[0], None)
        raise KeyboardInterrupt


class _Judge:
    """Compares scores, and refuses what is not to be chosen for them."""

    def __init__(self, tuned: Tuned) -> None:
        self._tuned = tuned
        self._export: Agreement | None = None

    def __call__(
        self,
        candidate: Candidate,
        export: Mapping[str, np.ndarray],
        scores: Mapping[str, np.ndarray],
    ) -> tuple[Agreement, str]:
        names = list(export)
        truths = self._tuned.samples.truths
        expected = [truths[name] for name in names] if truths else None
        rows = [np.stack([side[name] for name in names]) for side in (export, scores)]
        found = agreement(rows[0], rows[1], expected)
        if candidate == self._tuned.reference:
            self._export = found
            return found, ""
        return found, self._refusal(candidate, found)

    def _refusal(self, candidate: Candidate, found: Agreement) -> str:
        exact = not changes(candidate)
        if not exact and self._tuned.samples.made:
            return "it changes scores: chosen only with --images, which show by how much"
        return refusal(found, self._export, is_exact=exact)


def _has_large_jpegs(bundle: Bundle, samples: Samples) -> bool:
    """Whether at least half of the images are JPEGs that can be decoded at half their size."""
    try:
        short_side = build_preprocess(bundle.description.transform_ops).short_side
    except PreprocessError as error:
        raise ConversionError(f"{bundle.server_dir}: preprocessing: {error}") from error
    if not short_side:
        return False
    large = 0
    for data in samples.images.values():
        known = format_of(data)
        size = known.size(data) if known is not None and known.NAME == jpeg.NAME else None
        large += size is not None and min(size) >= 4 * short_side
    return 2 * large >= len(samples.images)
