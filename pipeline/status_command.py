"""`python -m pipeline status`: what a running service serves, its workers, queues and rates.

Reads the status from the admin address twice and shows the rates between the two. Exit codes:
0 every service is ready; 1 one is not; 2 the address gives no status.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from protocol.escaping import escaped, escaped_line

from .admin_client import (
    ERRORS,
    AdminReply,
    add_url,
    exchange,
    indented,
    read_reply,
    report_unreachable,
)
from .admin_reply import Service, Status, Worker
from .serving_report import served_lines

_READ_LIMIT_S = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Show the status; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline status",
        description="Show what a running service serves, its workers, queues and rates.",
    )
    add_url(parser)
    parser.add_argument(
        "--seconds",
        type=float,
        default=1.0,
        help="length of the interval for the rates (default: 1)",
    )
    parser.add_argument("--json", action="store_true", help="print the status as JSON, at once")
    options = parser.parse_args(arguments)
    try:
        before, reply = _read_status(options.url)
        if options.json:
            print(indented(reply))
            return _exit_code(before)
        began = time.monotonic()
        time.sleep(max(options.seconds, 0.01))
        after, _ = _read_status(options.url)
        elapsed_s = time.monotonic() - began
    except ERRORS as error:
        return report_unreachable("status", options.url, error)
    _show(Console(), before, after, elapsed_s)
    return _exit_code(after)


def _read_status(url: str) -> tuple[Status, AdminReply]:
    reply = exchange("GET", url, "/-/status", _READ_LIMIT_S)
    return read_reply(reply, Status), reply


def _exit_code(status: Status) -> int:
    return 0 if all(service["ready"] for service in status["services"]) else 1


def _show(console: Console, before: Status, after: Status, elapsed_s: float) -> None:
    def show(text: str) -> None:
        console.print(Text(escaped(text)), soft_wrap=True)

    show(
        f"paddle-serving-kit {after['version']}, {after['phase']}, process {after['pid']}, "
        f"up {_duration(after['uptime_s'])}\n{after.get('file', after['source'])}"
    )
    for service in after["services"]:
        if "served" in service:
            show(served_lines(service["name"], service["served"]))
        if service.get("tuning", {}).get("text"):
            show(f"  {service['tuning']['text']}")
    last = after["last_reload"]
    if last is not None:
        why = f": {last['error']}" if last["error"] else ""
        show(f"last reload {_moment(last['at'])}: {last['outcome']}{why}")
    earlier = {service["name"]: service for service in before["services"]}
    for table in (
        _services(after),
        _images(after, earlier, elapsed_s),
        _batches(after),
        _workers(after),
    ):
        console.print()
        console.print(table)


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))


def _table(names: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _add(table: Table, *cells: str | Text) -> None:
    """Add a row of plain texts: what is in them is neither markup nor acted on by a terminal."""
    table.add_row(*(Text(escaped_line(cell)) if isinstance(cell, str) else cell for cell in cells))


def _services(status: Status) -> Table:
    table = _table(("service", "state", "workers", "waiting", "model"))
    for service in status["services"]:
        states = [worker["state"] for worker in service["workers"]]
        up = sum(state in ("idle", "busy") for state in states)
        ready = service["ready"]
        _add(
            table,
            service["name"],
            Text("ready", style="green") if ready else Text("not ready", style="red"),
            f"{up} of {len(states)} up, {states.count('busy')} busy",
            f"{service['waiting']} of {service['queue_size']}",
            str(service["facts"].get("model", "?")),
        )
    return table


def _images(status: Status, earlier: Mapping[str, Service], elapsed_s: float) -> Table:
    table = _table(
        ("images",), ("a second", "answered", "failed", "expired", "abandoned", "rejected")
    )
    for service in status["services"]:
        now = service["counters"]
        before = earlier.get(service["name"], service)["counters"]
        rate = (now["answered"] - before["answered"]) / elapsed_s
        counts = (
            now["answered"],
            now["failed"],
            now["expired"],
            now["abandoned"],
            now["rejected"],
        )
        _add(table, service["name"], f"{rate:.1f}", *map(str, counts))
    return table


def _batches(status: Status) -> Table:
    table = _table(("batches", "best"), ("images a second of a worker, by the size of the batch",))
    for service in status["services"]:
        rates = service.get("images_per_s", {})
        text = "   ".join(f"{size}: {rate:.1f}" for size, rate in rates.items())
        _add(table, service["name"], str(service.get("best_batch") or "?"), text or "?")
    return table


def _workers(status: Status) -> Table:
    table = _table(("worker", "process", "state"), ("restarts", "images", "a batch", "last ended"))
    for service in status["services"]:
        for worker in service["workers"]:
            _add(table, *_worker_row(worker))
    return table


def _worker_row(worker: Worker) -> list[str]:
    batches = worker["batches"]
    return [
        worker["name"],
        str(worker["pid"] or ""),
        worker["state"],
        str(worker["restarts"]),
        str(worker["images"]),
        f"{worker['images'] / batches:.1f}" if batches else "",
        worker["cause"] or "",
    ]


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
