"""`python -m converter tune`: which way to serve a bundle is fastest on this machine."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from datetime import datetime, timezone
from pathlib import Path

from bundle import load_bundle
from bundle.tuned import TunedImages, TunedRow, Tuning
from bundle.tuning import model_digest, write_tuning
from pipeline.version import version
from protocol.escaping import escaped

from ..errors import ConversionError
from .entrant import Entrant
from .progress import progress
from .report import as_json, print_table
from .tune import Tuned, TuneOptions, prepare, tune

LEAST_S, MOST_S = 5.0, 3600.0


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the converter's."""
    command = commands.add_parser(
        "tune", help="measure which runtime, precision, batch and workers are fastest here"
    )
    command.set_defaults(run=run)
    command.add_argument("bundle_dir", type=Path, metavar="bundle", help="serving_model/NAME")
    command.add_argument(
        "--images",
        type=Path,
        metavar="DIR",
        help="images to measure with, in folders by label or not; default: made ones",
    )
    command.add_argument(
        "--time",
        type=_seconds,
        default=60.0,
        metavar="S",
        help="seconds to measure; slow models take longer (default 60)",
    )
    command.add_argument(
        "--apply",
        choices=("yes", "no"),
        default="yes",
        help="write the choice into the bundle, as tuning.yml (default yes)",
    )
    command.add_argument("--plot", type=Path, metavar="FILE", help="also draw it: .png or .svg")
    command.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _seconds(text: str) -> float:
    value = float(text)
    if not LEAST_S <= value <= MOST_S:
        raise argparse.ArgumentTypeError(f"seconds from {LEAST_S:g} to {MOST_S:g}, not {text}")
    return value


def run(options: argparse.Namespace) -> None:
    """Measure, print the table, and write tuning.yml.

    Raises:
        ConversionError, BundleError: one line says what is wrong; nothing was written.
    """
    if options.plot is not None:
        from .plot import check_plot

        check_plot(options.plot)
    bundle = load_bundle(options.bundle_dir)
    given = TuneOptions(options.bundle_dir, options.images, options.time)
    tuned = prepare(bundle, given)
    try:
        with progress(given.seconds) as say:
            tune(tuned, given, say)
    except (KeyboardInterrupt, ConversionError):
        # What was measured is worth a look; nothing is written.
        if any(entrant.images_per_s or entrant.error for entrant in tuned.entrants.values()):
            print_table(tuned, written=None)
        raise
    written = None
    if options.apply == "yes" and tuned.chosen is not None:
        written = write_tuning(bundle.path, as_tuning(tuned, tuned.chosen))
    if options.json:
        text = json.dumps(as_json(tuned, written), ensure_ascii=False, indent=2)
        sys.stdout.write(escaped(text) + "\n")
    else:
        print_table(tuned, written=written)
    if options.plot is not None:
        from .plot import plot

        plot(tuned, options.plot)


def as_tuning(tuned: Tuned, chosen: Entrant) -> Tuning:
    """Return what tuning.yml holds.

    Raises:
        BundleError: a file of the bundle cannot be read.
    """
    choice = chosen.candidate
    samples = tuned.samples
    versions = {"paddle-serving-kit": version()}
    versions |= {e.candidate.backend: e.runtime for e in tuned.entrants.values() if e.runtime}
    source = Path(samples.source).resolve().name if samples.source else "made images"
    return Tuning(
        choice=choice,
        cpu=tuned.cpu,
        model_sha256=model_digest(tuned.bundle.path, choice.form),
        made=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        versions=versions,
        images=TunedImages(source, len(samples.images), bool(samples.truths)),
        candidates=tuple(_row(entrant) for entrant in tuned.entrants.values()),
    )


def _row(entrant: Entrant) -> TunedRow:
    candidate, found = entrant.candidate, entrant.agreement
    is_number = found is not None and found.largest_difference == found.largest_difference
    return TunedRow(
        **asdict(candidate),
        images_per_s=entrant.images_per_s,
        alone_ms=entrant.alone_ms,
        memory_mib=entrant.memory_mib,
        start_s=entrant.start_s,
        largest_difference=found.largest_difference if found and is_number else None,
        same_best=found.same_best if found else None,
        compared=found.images if found else None,
        top1=found.top1 if found else None,
        refused=entrant.error or entrant.refused,
    )
