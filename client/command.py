"""What the two client commands share: arguments, the run, and exit codes.

0  every image was classified
1  some failed; each with its reason
2  the server could not be reached, or the command line is wrong
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import math
import sys
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path

from protocol.console import print_error
from protocol.forms import FORMS

from .address import DEFAULT_SERVICE
from .classify_client import DEFAULT_JOBS, DEFAULT_TIMEOUT_S, ClassifyClient, Outcome
from .credentials import Credentials, add_credentials, credentials_of
from .errors import NotListening, Unreachable
from .images import NoImage, find_images
from .report import form_line, json_line, print_table, with_bar

DEFAULT_RETRIES = 5
ANSWERED, SOME_FAILED, UNREACHABLE, BAD_CALL, INTERRUPTED = 0, 1, 2, 2, 130


@dataclass(frozen=True)
class Call:
    """A command line after parsing; `options` holds what only one of the commands has."""

    images: list[Path]
    service: str | None
    topk: int | None
    threshold: float | None
    timeout_s: float
    retries: int
    jobs: int
    credentials: Credentials
    line: Callable[[Outcome], str] | None  # how one outcome is printed; None: a table of all
    options: argparse.Namespace


def command_parser(name: str, description: str) -> argparse.ArgumentParser:
    """Return a parser with the arguments that both commands have."""
    parser = argparse.ArgumentParser(
        prog=f"python {name}",
        description=description,
        epilog="Exit codes: 0 every image was classified, 1 some failed, "
        "2 the server could not be reached or the command line is wrong.",
    )
    add = parser.add_argument
    add("images", nargs="*", metavar="IMAGE|FOLDER", help="default: the sample images")
    add(
        "--service",
        metavar="NAME",
        help=f"the service (default: {DEFAULT_SERVICE}, or the only one)",
    )
    add("--topk", type=_count, metavar="K", help="categories an image (default: the service's)")
    add("--threshold", type=_fraction, metavar="P", help="leave out categories below P, 0 to 1")
    add(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help=f"seconds an image may take, retries included (default: {DEFAULT_TIMEOUT_S:g})",
    )
    add(
        "--retries",
        type=_count_or_none,
        default=DEFAULT_RETRIES,
        metavar="N",
        help=f"tries again when the service is busy or starting (default: {DEFAULT_RETRIES})",
    )
    add(
        "--jobs",
        type=_count,
        default=DEFAULT_JOBS,
        metavar="N",
        help=f"images sent at a time (default: {DEFAULT_JOBS})",
    )
    add_credentials(parser)
    lines = parser.add_mutually_exclusive_group()
    lines.add_argument("--json", action="store_true", help="a JSON line each: image, topk, error")
    lines.add_argument(
        "--form",
        choices=FORMS,
        help="a JSON line each, as PaddleX' predict or the waste contest's service answers",
    )
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    connect: Callable[[Call], ClassifyClient],
    arguments: Sequence[str] | None = None,
) -> int:
    """Read the command line, classify, print; return the exit code."""
    options = parser.parse_args(arguments)
    try:
        call = Call(
            images=find_images(options.images),
            service=options.service,
            topk=options.topk,
            threshold=options.threshold,
            timeout_s=options.timeout,
            retries=options.retries,
            jobs=options.jobs,
            credentials=credentials_of(options),
            line=_line(options),
            options=options,
        )
        client = connect(call)
    except (NoImage, ValueError) as error:
        # Without argparse's usage, which would hide this line: the options themselves are right.
        print_error(str(error))
        sys.exit(BAD_CALL)
    try:
        with client:
            return _run(client, call)
    except KeyboardInterrupt:
        return INTERRUPTED


def _line(options: argparse.Namespace) -> Callable[[Outcome], str] | None:
    if options.form:
        return functools.partial(form_line, form=options.form)
    return json_line if options.json else None


def _run(client: ClassifyClient, call: Call) -> int:
    _set_encoding(call)
    failed, done = False, 0
    unreachable: Unreachable | None = None
    for_table: list[Outcome] = []
    # Closed before anything is printed: a bar may be on the terminal, and requests may still run.
    with contextlib.closing(_outcomes(client, call)) as outcomes:
        for outcome in outcomes:
            failed = failed or outcome.error is not None
            if isinstance(outcome.error, Unreachable):
                unreachable = outcome.error
                break
            done += 1
            if call.line is None:
                for_table.append(outcome)
    if for_table:
        # With a threshold, show all that reach it; otherwise the best is enough.
        rows = call.topk or (1 if call.threshold is None else None)
        print_table(for_table, rows, sys.stdout)
    if unreachable is not None:
        text = str(unreachable)
        if isinstance(unreachable, NotListening):
            text += "; is the service running? start it with `make serve`"
        if done:
            text += f"; {len(call.images) - done} of {len(call.images)} images are not classified"
        print_error(text)
        return UNREACHABLE
    return SOME_FAILED if failed else ANSWERED


def _outcomes(client: ClassifyClient, call: Call) -> Generator[Outcome, None, None]:
    """Yield the outcomes in order; where lines are requested, each is printed first."""
    outcomes = client.classify_many(call.images, call.topk, call.threshold, jobs=call.jobs)
    # A bar and lines on one terminal would garble each other.
    shown = call.line is None or not sys.stdout.isatty()
    with contextlib.closing(with_bar(outcomes, len(call.images), shown=shown)) as outcomes:
        for outcome in outcomes:
            if call.line is not None:
                print(call.line(outcome), flush=True)
            yield outcome


def _set_encoding(call: Call) -> None:
    """Write JSON lines in UTF-8 everywhere; a table shows ? for what the terminal cannot show."""
    if not isinstance(sys.stdout, io.TextIOWrapper):
        return
    if call.line is not None:
        sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")
    else:
        sys.stdout.reconfigure(errors="replace")


def _count(text: str, least: int = 1) -> int:
    try:
        count = int(text)
    except ValueError:
        count = least - 1
    if count < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least {least}")
    return count


def _count_or_none(text: str) -> int:
    return _count(text, least=0)


def _fraction(text: str) -> float:
    fraction = _float(text)
    if not 0 <= fraction <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 1")
    return fraction


def _seconds(text: str) -> float:
    seconds = _float(text)
    if not 0 < seconds < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of seconds above 0")
    return seconds


def _float(text: str) -> float:
    """Return the number, or NaN, which is in no range."""
    try:
        return float(text)
    except ValueError:
        return math.nan
