"""`python -m reliability.soak`: load, faults and bad input for minutes; every reply is checked.

Exit code 0: no reply was lost or mixed up, every error had its reason, nothing leaked, and the
health address replied in time.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.bare import ROOT
from benchmarks.service import RunningService, run_service
from protocol.console import as_command

from ..images import draw_images
from ..traces import stack_traces
from .faults import Faults
from .judge import Judge
from .report import Report
from .service_files import RETRIES, ServiceFiles
from .timeline import Timeline
from .traffic import Traffic
from .watch import Watch

CALLERS = 8
PROGRESS_EVERY_S = 10.0
# After them, allocators and runtimes have seen every kind of request: a slow machine needs longer.
WARM_UP_S = 5.0
WARM_UP_REQUESTS = 300
REST_S = 3.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a soak; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m reliability.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0, help="of load (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="chance begins here (default: 1)")
    parser.add_argument("--callers", type=int, default=CALLERS, help=f"at once ({CALLERS})")
    parser.add_argument("--output", type=Path, default=ROOT / "build" / "soak")
    options = parser.parse_args(arguments)
    console = Console()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="soak") as folder:
        report = _soak(Path(folder), options, console)
    report.show(console)
    path = options.output / "report.json"
    path.write_text(json.dumps(report.to_json(), indent=2) + "\n", encoding="utf-8")
    console.print(f"\n{path} has all of it; the service's log is beside it", soft_wrap=True)
    console.print("[red]failed[/]" if report.problems else "passed")
    return 1 if report.problems else 0


def _soak(folder: Path, options: argparse.Namespace, console: Console) -> Report:
    console.print("drawing images, and the bare model's scores of them")
    files = ServiceFiles(folder)
    images = draw_images(folder, options.seed)
    chance = random.Random(options.seed)
    timeline = Timeline()
    judge = Judge(images.scores, timeline, RETRIES)
    with (
        (options.output / "service.log").open("w", encoding="utf-8") as log,
        run_service(files.config, ["log.level=warning"], log=log) as service,
    ):
        traffic = Traffic((service.http_port, service.rpc_port), images, judge, chance)
        faults = Faults(
            files,
            traffic,
            timeline,
            chance,
            process_id=service.process_id,
            http_port=service.http_port,
            rpc_port=service.rpc_port,
            admin_port=service.admin_port,
        )
        watch = Watch(service.http_port, service.process_id)
        console.print(
            f"{len(images.encoded)} images, two services, {options.callers} callers, "
            f"{options.minutes:g} minutes, seed {options.seed}; Ctrl-C ends it early"
        )
        run = _Run(service, traffic, faults, watch, timeline, console)
        report = asyncio.run(run.run(options))
        report.exit_code = service.stop()
    written = (options.output / "service.log").read_text(encoding="utf-8", errors="replace")
    report.traces = stack_traces(written)
    return report


class _Run:
    """The load, from the first request to the last."""

    def __init__(
        self,
        service: RunningService,
        traffic: Traffic,
        faults: Faults,
        watch: Watch,
        timeline: Timeline,
        console: Console,
    ) -> None:
        self._service = service
        self._traffic = traffic
        self._faults = faults
        self._watch = watch
        self._timeline = timeline
        self._console = console
        self._early = asyncio.Event()

    async def run(self, options: argparse.Namespace) -> Report:
        """Load the service, and measure it at rest before and after."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGINT, self._early.set)
        began = time.monotonic()
        await self._warm_up(options.callers)
        start = self._watch.measure()
        self._traffic.resume()
        watching = [
            asyncio.create_task(self._watch.health()),
            asyncio.create_task(self._watch.memory()),
            asyncio.create_task(self._print_progress(began)),
        ]
        await self._load(options.callers, time.monotonic() + 60 * options.minutes)
        for task in watching:
            task.cancel()
            await self._end(task, "watch")
        await asyncio.sleep(REST_S)
        end = self._watch.measure()
        status = await self._faults.status()
        await self._faults.close()
        return Report(
            seconds=time.monotonic() - began,
            seed=options.seed,
            tally=self._traffic.tally,
            timeline=self._timeline,
            watch=self._watch,
            start=start,
            end=end,
            counters={s["name"]: s["counters"] for s in status["services"]},
            complaints=self._faults.complaints,
        )

    async def _warm_up(self, callers: int) -> None:
        warming = asyncio.create_task(self._traffic.run(callers))
        await asyncio.sleep(WARM_UP_S)
        while self._traffic.tally.sent < WARM_UP_REQUESTS and not warming.done():
            await asyncio.wait((warming,), timeout=0.1)
        self._traffic.stop()
        await warming
        await asyncio.sleep(REST_S)

    async def _load(self, callers: int, until: float) -> None:
        """Load the service and cause faults until the time `until`, or Ctrl-C."""
        loading = asyncio.create_task(self._traffic.run(callers))
        breaking = asyncio.create_task(self._faults.run(until))
        early = asyncio.create_task(self._early.wait())
        await asyncio.wait({breaking, early, loading}, return_when=asyncio.FIRST_COMPLETED)
        breaking.cancel()
        await self._end(breaking, "faults")
        await self._faults.recovered("the end")
        self._traffic.stop()
        await loading
        early.cancel()
        await self._end(early, "watch")

    async def _end(self, task: asyncio.Task[Any], what: str) -> None:
        """Wait for a task that was cancelled; another error of it is a complaint."""
        with contextlib.suppress(asyncio.CancelledError):
            try:
                await task
            except Exception as error:  # noqa: BLE001 - reported at the end
                self._faults.complaints.append(f"{what}: {type(error).__name__}: {error}")

    async def _print_progress(self, began: float) -> None:
        """Print a line every ten seconds."""
        while True:
            await asyncio.sleep(PROGRESS_EVERY_S)
            tally, events = self._traffic.tally, self._timeline.events
            bad = sum(n for verdict, n in tally.verdicts.items() if not verdict.good)
            minutes, seconds = divmod(int(time.monotonic() - began), 60)
            self._console.print(
                f"{minutes:2d}:{seconds:02d}  {tally.sent} requests, "
                f"{bad} of them lost, mixed up or wrong; {len(events)} faults",
                highlight=False,
            )


if __name__ == "__main__":
    sys.exit(as_command(main))
