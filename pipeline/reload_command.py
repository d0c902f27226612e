"""`python -m pipeline reload`: configuration and bundles anew, in a running service.

Waits until the new workers serve, and prints what is served then. Exit codes: 0 reloaded; 1 it was
refused, and nothing has changed; 2 the address is no admin address.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from protocol.console import print_error
from protocol.escaping import escaped

from .admin_client import (
    ERRORS,
    NoReplyYet,
    add_url,
    exchange,
    indented,
    read_reply,
    report_unreachable,
)
from .admin_reply import ReloadReport
from .serving_report import served_lines

RELOADED, REFUSED = 0, 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Reload; return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline reload",
        description="Have a running service read its configuration, bundles and labels anew. "
        "The command waits until the new workers serve; if anything fails, nothing changes.",
    )
    add_url(parser)
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="wait no longer; the reload itself goes on (default: wait until it is done)",
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON")
    options = parser.parse_args(arguments)
    try:
        reply = exchange("POST", options.url, "/-/reload", options.timeout)
        report = read_reply(reply, ReloadReport)
    except NoReplyYet:
        print_error(
            f"the reload was not done within {options.timeout:g} s and goes on; "
            "`python -m pipeline status` shows how it ended"
        )
        return REFUSED
    except ERRORS as error:
        return report_unreachable("reply to a reload", options.url, error)
    if options.json:
        print(indented(reply))
    elif report["status"] == "reloaded":
        _show(report)
    else:
        cause = report.get("error") or report["status"]
        print_error(f"not reloaded, nothing has changed: {cause}")
    return RELOADED if report["status"] == "reloaded" else REFUSED


def _show(report: ReloadReport) -> None:
    print(f"reloaded in {report.get('seconds', 0):.1f} s")
    for name, files in report.get("served", {}).items():
        print(escaped(served_lines(name, files, report.get("as_before", {}).get(name, ()))))


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds
