"""The command: measures the parts that are chosen, shows the table and writes it."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from pipeline.predictors.registry import RUNTIMES

from ..bare import ROOT, BareLimit
from ..images import image_files
from ..models import EMBEDDED, found_bundles
from ..peers.command import RESULTS
from ..peers.table import put_into
from . import alone, limit, others, photos, ways
from .bundles import Copies, copies
from .contender import Images
from .target import Target

BEGIN, END = "<!-- targets: begin -->", "<!-- targets: end -->"
PAGES = ("docs/performance.md", "docs/performance.zh-CN.md")
# The network that Paddle Serving 0.9 is compared on: PP-LCNetV2_base.
_PEACH = "peach4"
Measure = Callable[[Copies, Images, Path, int, float, limit.Say], list[Target]]
PARTS = (
    limit.PART,
    alone.PART,
    photos.PART,
    ways.DEFAULT,
    ways.SIX,
    others.SERVING09,
    others.PEERS_PART,
)


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `targets` with its options."""
    parser = commands.add_parser("targets", help="what is promised of the speed, each measured")
    add = parser.add_argument
    add("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=str(PARTS))
    add("--rounds", type=int, default=4)
    add("--seconds", type=float, default=2.5, help="of each measurement (default 2.5)")
    add("--tune-seconds", type=float, default=45.0, help="of `converter tune` for each bundle")
    add("--images", type=Path, default=ROOT / "examples/images")
    add("--pictures", type=int, default=64, help="most images to send")
    add("--bundles", type=Path, default=ROOT / "build/deployments/bundles")
    add("--write", action="store_true", help=f"put the table into {PAGES[0]}")
    add("--work", type=Path, default=ROOT / "build/targets", help="where products are kept")
    parser.set_defaults(measure=main)


def main(options: argparse.Namespace) -> int:
    """Measure, show and write; return 1 if a promise was missed or could not be measured."""
    if options.rounds < 1 or options.seconds <= 0:
        raise SystemExit("error: --rounds must be 1 or more, and --seconds above 0")
    # As Ctrl-C does: services that are stopped must not outlive this command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(width=None if Console().is_terminal else 140, highlight=False)
    work = options.work.resolve()
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    if not RUNTIMES["paddle"].installed():
        raise SystemExit("error: Paddle is what others are compared with; `make setup PADDLE=cpu`")
    targets = _Run(options, work, console).all()
    console.print(_shown(targets))
    if options.write:
        for page in PAGES:
            put_into(ROOT / page, markdown(targets), BEGIN, END)
            console.print(f"wrote {page}")
    return 0 if all(target.held for target in targets) else 1


def markdown(targets: Sequence[Target]) -> str:
    """Return the table of docs/performance.md."""
    lines = ["| ratio | promised | measured | |", "|---|---|---|---|"]
    for target in targets:
        note = f"{target.verdict}: {target.reason}" if target.reason else target.verdict
        cells = (target.what, target.wanted, target.found, note)
        lines.append(f"| {' | '.join(cell.replace('|', '/') for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _shown(targets: Sequence[Target]) -> Table:
    table = Table(title="promises; the median of the rounds, with the lowest and the highest")
    for name in ("", "promised", "measured", "", "note"):
        table.add_column(name)
    for target in targets:
        style = "" if target.held else "red"
        cells = (target.what, target.wanted, target.found, target.verdict, target.reason)
        table.add_row(*cells, style=style)
    return table


class _Run:
    """One run; bundles are copied and tuned when a part first needs them."""

    def __init__(self, options: argparse.Namespace, work: Path, console: Console) -> None:
        self._options = options
        self._work = work
        self._console = console
        self._files = image_files(options.images.resolve(), options.pictures)
        self._copies: dict[Path, Copies] = {}
        self._images: dict[Path, Images] = {}

    def all(self) -> list[Target]:
        """Measure the parts that are chosen, in their order."""
        measures: dict[str, Callable[[], list[Target]]] = {
            limit.PART: lambda: self._one(limit.measure, EMBEDDED),
            alone.PART: self._alone,
            photos.PART: lambda: photos.measure(self._files[:4], self._options.rounds),
            ways.DEFAULT: lambda: self._one(ways.measure_default, EMBEDDED),
            ways.SIX: self._six,
            others.SERVING09: self._serving09,
            others.PEERS_PART: lambda: others.read_peers(ROOT / "build/peers" / RESULTS),
        }
        return [t for part in PARTS if part in self._options.parts for t in measures[part]()]

    def _one(self, measure: Measure, bundle: Path) -> list[Target]:
        options = self._options
        copied, images = self._copied(bundle), self._with_scores(bundle)
        with self._console.status("") as status:
            return measure(
                copied,
                images,
                self._work / f"run-{bundle.name}",
                options.rounds,
                options.seconds,
                lambda text: status.update(f"{bundle.name}: {text}"),
            )

    def _alone(self) -> list[Target]:
        copied, images = self._copied(EMBEDDED), self._with_scores(EMBEDDED)
        return alone.measure(copied, images, self._options.rounds, self._console)

    def _six(self) -> list[Target]:
        return [
            target
            for bundle in found_bundles(self._options.bundles)
            for target in self._one(ways.measure_model, bundle)
        ]

    def _serving09(self) -> list[Target]:
        for bundle in found_bundles(self._options.bundles):
            if bundle.name.startswith(_PEACH):
                return self._one(others.measure_serving09, bundle)
        return [others.without_bundle(_PEACH)]

    def _copied(self, bundle: Path) -> Copies:
        if bundle not in self._copies:
            seconds = self._options.tune_seconds
            with self._console.status(f"{bundle.name}: converter tune, {seconds:.0f} s and more"):
                made = copies(bundle, self._options.images.resolve(), self._work, seconds)
            self._copies[bundle] = made
            self._console.print(f"{bundle.name}: tuned to {made.choice}")
        return self._copies[bundle]

    def _with_scores(self, bundle: Path) -> Images:
        """Return the images with the scores of direct inference."""
        if bundle not in self._images:
            bare = BareLimit(bundle, self._files, 1)
            bare.close()
            self._images[bundle] = Images(self._files, bare.scores)
        return self._images[bundle]
