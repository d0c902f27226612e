"""How near the service comes to the bare predictor.

`python -m benchmarks throughput` at many connections, `overhead` at one; `peers` compares it with
other services, `models` runtimes, precisions and batches; `targets` measures what is promised.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from protocol.console import as_command

from . import models, overhead
from .bare import ROOT
from .images import image_files
from .peers import command as peers
from .targets import command as targets
from .throughput import Plan, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one benchmark; return 1 if an answer was wrong or missing."""
    options = _parser().parse_args(arguments)
    return int(options.measure(options))


def _throughput(options: argparse.Namespace) -> int:
    plan = Plan(
        config=options.config.resolve(),
        bundle=options.bundle.resolve(),
        service=options.service,
        images=image_files(options.images.resolve(), options.pictures),
        workers=options.workers,
        rounds=options.rounds,
        seconds=options.seconds,
        batch_size=options.batch_size,
        batches=tuple(options.batches),
        backends=tuple(options.backends),
        connections=tuple(options.connections),
        overrides=tuple(options.override),
        devices=options.devices,
    )
    throughput = run(plan, Console())
    outcomes = [outcome for result in throughput.measured.values() for outcome in result.outcomes]
    return 1 if any(outcome.wrong or outcome.failed for outcome in outcomes) else 0


def _overhead(options: argparse.Namespace) -> int:
    plan = overhead.Plan(
        config=options.config.resolve(),
        bundle=options.bundle.resolve(),
        service=options.service,
        images=image_files(options.images.resolve(), options.pictures),
        rounds=options.rounds,
        images_a_turn=options.turn,
        overrides=tuple(options.override),
    )
    ways = overhead.run(plan, Console())
    return 1 if any(way.wrong for way in ways.values()) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    throughput = commands.add_parser("throughput", help="requests a second beside the bare limit")
    add = throughput.add_argument
    _add_common(throughput)
    add("--workers", type=int, default=2)
    add("--devices", default="", help='GPUs that the workers share: "0" or "0,1"; "" is the CPU')
    add("--batch-size", type=int, default=8)
    add("--batches", type=int, nargs="+", default=list(Plan.batches), help="of the bare limit")
    add("--backends", nargs="+", default=list(Plan.backends), help="runtimes of the bare limit")
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=4.0, help="of each measurement")
    add("--connections", type=int, nargs="+", default=[1, 4, 16, 64])
    throughput.set_defaults(measure=_throughput)
    alone = commands.add_parser("overhead", help="what one connection adds to the classifier")
    _add_common(alone)
    alone.add_argument("--rounds", type=int, default=50)
    alone.add_argument("--turn", type=int, default=10, help="images of each way in a round")
    alone.set_defaults(measure=_overhead)
    peers.add_parser(commands)
    models.add_parser(commands)
    targets.add_parser(commands)
    return parser


def _add_common(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--config", type=Path, default=ROOT / "configs/waste.yml")
    add("--bundle", type=Path, default=ROOT / "serving_model/waste")
    add("--service", default="waste")
    add("--images", type=Path, default=ROOT / "examples/images", help="folder of images to send")
    add("--pictures", type=int, default=64, help="most images to use of it")
    add("-o", "--override", action="append", default=[], metavar="KEY=VALUE")


if __name__ == "__main__":
    sys.exit(as_command(main))
