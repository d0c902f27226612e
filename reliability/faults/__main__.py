"""`python -m reliability.faults [TRIAL ...]`: faults on this service and on Paddle Serving 0.9.

Both serve the embedded model with two workers on this machine, one service at a time, each trial on
a freshly started one. `make paddle-serving-env` makes the environment of 0.9; without it only this
service is tried. Exit code 1 if this service does not behave as it should.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks.bare import ROOT
from protocol.console import as_command

from .findings import Finding
from .inputs import Inputs, check_same_scores, make_inputs
from .services import OFFICIAL, OFFICIAL_PYTHON, OURS, Subject, official_service, our_service
from .trials import TRIALS, Trial

Findings = dict[str, dict[str, Finding]]  # trial -> service -> finding


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the trials; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reliability.faults", description=__doc__)
    parser.add_argument("trials", nargs="*", metavar="TRIAL", help=f"of {', '.join(TRIALS)}")
    parser.add_argument("--ours", action="store_true", help="try this service alone")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "faults")
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.trials) - set(TRIALS))
    if unknown:
        parser.error(f"there is no trial {unknown[0]}; there are {', '.join(TRIALS)}")
    console = Console(highlight=False, soft_wrap=True)
    official = not options.ours and OFFICIAL_PYTHON.is_file()
    if not official and not options.ours:
        console.print("no Paddle Serving 0.9 here (make paddle-serving-env): this service alone")
    options.output.mkdir(parents=True, exist_ok=True)
    findings: Findings = {}
    with tempfile.TemporaryDirectory(prefix="faults") as folder:
        inputs = make_inputs(Path(folder))
        check_same_scores(inputs)
        for name in options.trials or TRIALS:
            trial = TRIALS[name]
            console.print(f"[bold]{trial.name}[/]")
            findings[name] = _both(trial, inputs, console, official=official)
    text = markdown(findings)
    (options.output / "faults.md").write_text(text, encoding="utf-8")
    fields = {
        name: {service: {"told": found.text, "good": found.good} for service, found in both.items()}
        for name, both in findings.items()
    }
    (options.output / "faults.json").write_text(
        json.dumps(fields, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    console.print(f"\n{options.output}/faults.md has the table")
    return 0 if all(both[OURS].good for both in findings.values()) else 1


def _both(trial: Trial, inputs: Inputs, console: Console, *, official: bool) -> dict[str, Finding]:
    found = {}
    with our_service(inputs) as subject:
        found[OURS] = _try(trial, subject, inputs, console)
    if official:
        with official_service(inputs, threads=trial.threads) as subject:
            found[OFFICIAL] = _try(trial, subject, inputs, console)
    return found


def _try(trial: Trial, subject: Subject, inputs: Inputs, console: Console) -> Finding:
    finding = asyncio.run(trial.run(subject, inputs))
    mark = "[green]good[/]" if finding.good else "[red]bad [/]"
    console.print(f"  {subject.name:<18} {mark}  {finding.text}")
    return finding


def markdown(findings: Findings) -> str:
    """Return the table for a guide."""
    services = [OURS, OFFICIAL]
    lines = [f"| fault | {' | '.join(services)} |", "|---|---|---|"]
    for name, both in findings.items():
        cells = [both[service].text if service in both else "not tried" for service in services]
        lines.append(f"| {TRIALS[name].name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(as_command(main))
