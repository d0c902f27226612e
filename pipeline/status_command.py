"""`python -m pipeline status`: what a running service serves, its workers, queues and rates.

Reads the status from the admin address twice and shows the rates between the two. Exit codes:
0 every service is ready; 1 one is not; 2 the address gives no status.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .admin_client import (
    ERRORS,
    AdminClient,
    add_url,
    admin_client,
    read_object,
    report_unreachable,
)
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
        with admin_client(options.url, _READ_LIMIT_S) as client:
            before = _read_status(client)
            if options.json:
                print(json.dumps(before, indent=2, ensure_ascii=False))
                return _exit_code(before)
            began = time.monotonic()
            time.sleep(max(options.seconds, 0.01))
            after = _read_status(client)
            elapsed_s = time.monotonic() - began
    except ERRORS as error:
        return report_unreachable("status", options.url, error)
    _show(Console(), before, after, elapsed_s)
    return _exit_code(after)


def _read_status(client: AdminClient) -> dict[str, Any]:
    return read_object(client.get("/-/status"), "services")


def _exit_code(status: Mapping[str, Any]) -> int:
    return 0 if all(service["ready"] for service in status["services"]) else 1


def _show(
    console: Console, before: Mapping[str, Any], after: Mapping[str, Any], elapsed_s: float
) -> None:
    console.print(
        f"paddle-serving-kit {after['version']}, {after['phase']}, process {after['pid']}, "
        f"up {_duration(after['uptime_s'])}\n{escape(str(after.get('file', after['source'])))}",
        soft_wrap=True,
        highlight=False,
    )
    for service in after["services"]:
        if "served" in service:
            text = served_lines(service["name"], service["served"])
            console.print(escape(text), soft_wrap=True, highlight=False)
    last = after["last_reload"]
    if last is not None:
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(last["at"]))
        why = f": {last['error']}" if last["error"] else ""
        console.print(f"last reload {when}: {last['outcome']}{why}", soft_wrap=True)
    earlier = {service["name"]: service["counters"] for service in before["services"]}
    for table in (_services(after), _images(after, earlier, elapsed_s), _workers(after)):
        console.print()
        console.print(table)


def _table(names: Sequence[str], numbers: Sequence[str] = ()) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name)
    for name in numbers:
        table.add_column(name, justify="right")
    return table


def _services(status: Mapping[str, Any]) -> Table:
    table = _table(("service", "state", "workers", "waiting", "model"))
    for service in status["services"]:
        states = [worker["state"] for worker in service["workers"]]
        up = sum(state in ("idle", "busy") for state in states)
        table.add_row(
            service["name"],
            "[green]ready[/]" if service["ready"] else "[red]not ready[/]",
            f"{up} of {len(states)} up, {states.count('busy')} busy",
            f"{service['waiting']} of {service['queue_size']}",
            str(service["facts"].get("model", "?")),
        )
    return table


def _images(
    status: Mapping[str, Any], earlier: Mapping[str, Mapping[str, int]], elapsed_s: float
) -> Table:
    outcomes = ("answered", "failed", "expired", "abandoned", "rejected")
    table = _table(("images",), ("a second", *outcomes))
    for service in status["services"]:
        counters = service["counters"]
        before = earlier.get(service["name"], counters)
        rate = (counters["answered"] - before["answered"]) / elapsed_s
        table.add_row(service["name"], f"{rate:.1f}", *(str(counters[name]) for name in outcomes))
    return table


def _workers(status: Mapping[str, Any]) -> Table:
    table = _table(("worker", "process", "state"), ("restarts", "images", "a batch", "last ended"))
    for service in status["services"]:
        for worker in service["workers"]:
            table.add_row(*_worker_row(worker))
    return table


def _worker_row(worker: Mapping[str, Any]) -> list[str]:
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
