"""`python -m reliability.attack`: attack a service on this machine, and judge what it withstood.

It starts the embedded bundle on free ports of 127.0.0.1, once without API keys and once with them;
nothing is sent to another machine. With `--at` it attacks a service that runs already; the log of
that service is not read. Exit code 1 if an attack did what it must not.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console

from benchmarks.bare import ROOT
from protocol.console import as_command

from . import access
from .attacker import Attack
from .report import markdown, show
from .run import Runs
from .table import chosen
from .target import Attacked, Mode, NoTargetError, NotLoopbackError, find_target

SECONDS = 5.0
KEY = "PADDLE_SERVING_KIT_API_KEY"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attacks; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reliability.attack", description=__doc__)
    parser.add_argument(
        "--only", nargs="+", action="extend", default=[], metavar="NAME", help="part of a name"
    )
    parser.add_argument(
        "--caller",
        nargs="+",
        default=[mode.value for mode in Mode],
        choices=[mode.value for mode in Mode],
        help="who attacks (default: all)",
    )
    parser.add_argument("--seconds", type=float, default=SECONDS, help=f"each ({SECONDS:g})")
    parser.add_argument(
        "--at",
        nargs=3,
        metavar=("HTTP", "RPC", "ADMIN"),
        help="attack the service that runs at these addresses, each 127.0.0.1:PORT; "
        f"{KEY} has its key if it requires one",
    )
    parser.add_argument("--list", action="store_true", help="list the attacks, and send nothing")
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "attack")
    options = parser.parse_args(arguments)  # fmt: skip
    pairs = chosen(options.only, [mode for mode in Mode if mode.value in options.caller])
    if not pairs:
        parser.error(f"no attack has {' or '.join(options.only)} in its name; see --list")
    if options.list:
        for attack, mode in pairs:
            print(f"{attack.name:<30} {mode.value:<9} {attack.wire:<5} {attack.must}")
        return 0
    try:
        given = find_target(options.at, os.environ.get(KEY, "")) if options.at else None
    except (NotLoopbackError, NoTargetError) as error:
        parser.error(str(error))
    if given is not None:
        pairs = [pair for pair in pairs if _fits(given, *pair)]
    _raise_descriptors()
    options.output.mkdir(parents=True, exist_ok=True)
    (options.output / "service.log").write_text("", encoding="utf-8")
    console = Console(stderr=options.json, highlight=False, soft_wrap=True)
    say = partial(console.print, markup=False)
    runs = Runs(options.output, options.seconds, say, given)
    asyncio.run(runs.run(pairs))
    failed = [result for result in runs.results if result.problems]
    report = {"results": [result.to_json() for result in runs.results], "failed": len(failed)}
    text = json.dumps(report, indent=2, ensure_ascii=False) + "\n"
    (options.output / "report.json").write_text(text, encoding="utf-8")
    (options.output / "attack.md").write_text(markdown(runs.results), encoding="utf-8")
    if options.json:
        print(text, end="")
    else:
        show(runs.results, Console(highlight=False, width=None if sys.stdout.isatty() else 180))
        console.print(f"\n{options.output} has report.json, attack.md and the service's log")
        console.print(f"{len(failed)} of {len(runs.results)} failed" if failed else "all held")
    return 1 if failed else 0


def _fits(given: Attacked, attack: Attack, mode: Mode) -> bool:
    """Whether an attack can be tried on a running service: it goes on, its keys are as they are."""
    keyed = bool(given.key)
    return not attack.ends_service and mode.keyed is keyed and attack.run is not access.rate


def _raise_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 8192 if hard == resource.RLIM_INFINITY else min(hard, 8192)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


if __name__ == "__main__":
    sys.exit(as_command(main))
