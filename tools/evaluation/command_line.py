"""The command line of the evaluation."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import NoReturn

from client.address import DEFAULT_SERVICE
from client.classify_client import DEFAULT_JOBS, DEFAULT_TIMEOUT_S

WRONG_CALL = 2


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_CALL, f"error: {message}; {self.prog} --help shows the options\n")


def command_parser(description: str | None) -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = _Parser(
        prog="python -m tools.evaluation",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of classes, or list file")
    _add_models(parser)
    _add_data(parser)
    _add_results(parser)
    return parser


def _add_models(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("model")
    model = group.add_mutually_exclusive_group(required=True)
    model.add_argument("--bundle", type=Path, help="a bundle's folder; no service is needed")
    model.add_argument("--url", help="a service over HTTP: http://HOST:PORT")
    model.add_argument("--endpoint", metavar="HOST:PORT", help="a service over RPC")
    add = group.add_argument
    add("--service", metavar="NAME", help=f"name of the service (default: {DEFAULT_SERVICE})")
    add(
        "--jobs",
        type=_count,
        default=DEFAULT_JOBS,
        metavar="N",
        help="requests at the same time; default: 4",
    )
    add(
        "--timeout",
        type=_seconds,
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help="seconds that a request may take; default: 10",
    )
    add(
        "--batch-size",
        type=_count,
        default=8,
        metavar="N",
        help="images in one run of the model, with --bundle; default: 8",
    )


def _add_data(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("data")
    add = group.add_argument
    add("--split", metavar="NAME", help="which split of DATA to read; default: val")
    add("--root", type=Path, help="where the paths in a list begin, if not at its own folder")
    add("--labels", type=Path, help="label file of a list, if not beside it")
    names = group.add_mutually_exclusive_group()
    names.add_argument(
        "--classes",
        type=Path,
        metavar="FILE",
        help="YAML, `class of DATA: label of the model`, where they differ; null leaves out",
    )
    names.add_argument(
        "--by-number",
        action="store_true",
        help="the class numbers of a list are the model's, whatever its label file says",
    )


def _add_results(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("results").add_argument
    add("--report", type=Path, metavar="FOLDER", help="write report.md, report.json, answers.csv")
    add("--json", action="store_true", help="print JSON instead of tables")
    add("--at-least", type=_share, metavar="A", help="exit code 1 if the accuracy is below A")
    add(
        "--thresholds",
        action="store_true",
        help="show what remains if results below 0.5, 0.6 ... 0.99 go to a person",
    )
    add(
        "--threshold",
        type=_share,
        action="append",
        default=[],
        metavar="T",
        help="the same for T; may be repeated",
    )
    add(
        "--wanted",
        type=_share,
        metavar="A",
        help="find the smallest threshold with this accuracy; confirm it on other data",
    )


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _share(text: str) -> float:
    number = _number(text)
    if not 0 <= number <= 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to 1")
    return number


def _seconds(text: str) -> float:
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
