"""`python -m benchmarks peers`: the options, the run, and what it writes."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console

from ..bare import ROOT, BareLimit
from ..images import image_files
from . import plot
from .catalogue import PEERS
from .choosing import Chosen
from .models import ModelError, find_model
from .records import Record, Records, rows
from .table import RUNTIMES, console_table, markdown, put_into
from .turns import Plan, Subject, failures, measure

PAGES = ("docs/performance.md", "docs/performance.zh-CN.md")
PICTURE = "docs/peers.svg"
RESULTS = "results.jsonl"


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `peers` with its options."""
    parser = commands.add_parser("peers", help="this service and others, in turns")
    add = parser.add_argument
    add("--peers", nargs="+", choices=sorted(PEERS), default=list(PEERS), help="default: all")
    add("--models", nargs="+", default=["embedded", "peach4"], help="names, or paths of bundles")
    add("--runtimes", nargs="+", choices=sorted(RUNTIMES), default=["onnxruntime", "paddle"])
    add("--connections", type=int, nargs="+", default=[1, 4, 16, 64])
    add("--rounds", type=int, default=3)
    add("--seconds", type=float, default=4.0, help="of each measurement (default 4)")
    add("--tune-seconds", type=float, default=2.0, help="of each measurement of a setting")
    add("--workers", type=int, default=2, help="processes of each service, one thread each")
    add("--images", type=Path, default=ROOT / "examples/images", help="folder of JPEGs to send")
    add("--pictures", type=int, default=64, help="most images to use of it")
    add("--bundles", type=Path, default=ROOT / "build/deployments/bundles")
    add("--resume", action="store_true", help="go on with an interrupted run of the same options")
    add("--show", action="store_true", help="measure nothing; show the last run")
    add("--no-tune", action="store_true", help="take each peer's last setting; try no others")
    add("--retune", action="store_true", help="try the peers' settings again")
    add("--json", type=Path, metavar="FILE", help="write the figures to FILE")
    add("--plot", type=Path, metavar="FILE", help="write a picture of them to FILE.svg")
    add("--write", action="store_true", help=f"put table and picture into {PAGES[0]}")
    add("--work", type=Path, default=ROOT / "build/peers", help="where products are kept")
    parser.set_defaults(measure=main)


def main(options: argparse.Namespace) -> int:
    """Measure, show and write; return 1 if a reply of our own was wrong or missing."""
    console = Console(width=None if Console().is_terminal else 160, highlight=False)
    # As Ctrl-C does: the services, most of them stopped, must not outlive this command.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = options.work.resolve()
    shown = options.show
    records = Records.read(work / RESULTS) if shown else _run(options, work, console)
    _finish(options, records, console)
    wrong = failures(records.all, PEERS)
    for line in wrong:
        console.print(f"error: {line}", style="red")
    return 1 if wrong else 0


def _run(options: argparse.Namespace, work: Path, console: Console) -> Records:
    _check(options)
    plan = Plan(
        peers=tuple(PEERS[name] for name in PEERS if name in options.peers),
        runtimes=tuple(dict.fromkeys(options.runtimes)),
        connections=tuple(dict.fromkeys(options.connections)),
        rounds=options.rounds,
        seconds=options.seconds,
        workers=options.workers,
        work=work / "run",
        tune=not options.no_tune,
        tune_seconds=options.tune_seconds,
    )
    images = [
        path
        for path in image_files(options.images.resolve(), options.pictures)
        if path.suffix.lower() in (".jpg", ".jpeg")
    ]
    if not images:
        raise SystemExit(f"error: no JPEGs in {options.images}; give a folder with --images")
    names = ("models", "runtimes", "connections", "rounds", "seconds", "workers", "pictures")
    described = {name: getattr(options, name) for name in names} | {"images": str(options.images)}
    described["peers"] = [peer.name for peer in plan.peers]
    records = Records.begin(work / RESULTS, described, resume=options.resume)
    for runtime in plan.runtimes:
        records.keep_whole([peer.name for peer in plan.peers if plan.steps(peer, runtime)], runtime)
    chosen = Chosen(work / "settings.json")
    if options.retune:
        chosen.forget()
    for name in dict.fromkeys(options.models):
        try:
            model = find_model(name, options.bundles.resolve(), work / "models")
        except ModelError as error:
            console.print(f"left out: {error}")
            continue
        subject = Subject(model, images, _scores(model.bundle, images))
        for runtime in plan.runtimes:
            try:
                with console.status(f"{name}: the form for {runtime}"):
                    model.form(runtime)
            except ModelError as error:
                console.print(f"left out: {name} with {runtime}: {error}")
                continue
            measure(plan, subject, runtime, records, chosen, console)
    return records


def _check(options: argparse.Namespace) -> None:
    for name in ("rounds", "seconds", "tune_seconds", "workers", "pictures"):
        if getattr(options, name) <= 0:
            raise SystemExit(f"error: --{name} must be above 0, not {getattr(options, name):g}")
    if min(options.connections) < 1:
        raise SystemExit(f"error: --connections must be 1 or more, not {min(options.connections)}")


def _scores(bundle: Path, images: list[Path]) -> list[list[float]]:
    """Return the scores of direct inference."""
    bare = BareLimit(bundle, images, 1)
    bare.close()
    return bare.scores


def _finish(options: argparse.Namespace, records: Records, console: Console) -> None:
    figures = rows(records.all, next(name for name, peer in PEERS.items() if peer.own))
    if not figures:
        console.print("nothing was measured")
        return
    connections = list(dict.fromkeys(r.connections for r in records.all))
    console.print(console_table(figures, connections))
    console.print(_checked(records.all))
    if options.json:
        tree = {"plan": records.plan, "rows": [asdict(row) for row in figures]}
        options.json.write_text(json.dumps(tree, indent=1, ensure_ascii=False), encoding="utf-8")
        console.print(f"wrote {options.json}")
    if options.plot:
        plot.write(figures, connections, options.plot)
        console.print(f"wrote {options.plot}")
    if options.write:
        plot.write(figures, connections, ROOT / PICTURE)
        for page in PAGES:
            put_into(ROOT / page, markdown(figures, connections))
            console.print(f"wrote {page}")


def _checked(records: Sequence[Record]) -> str:
    wrong, failed = sum(r.wrong for r in records), sum(r.failed for r in records)
    return f"Every reply was compared with direct inference: {wrong} wrong, {failed} failed."
