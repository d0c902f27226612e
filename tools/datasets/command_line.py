"""The command line of `python -m tools.datasets`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NoReturn

from .list_files import FOLDERS, FORMS, PADDLEX
from .output import COPY, HARD_LINK, SYMLINK
from .workers import default_jobs


def command_line(description: str | None = None) -> argparse.ArgumentParser:
    """Return the parser of all commands; `command` of its result is the name of one."""
    parser = _Parser(
        prog="python -m tools.datasets",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=_Parser)
    common = _Parser(add_help=False)
    common.add_argument("--json", action="store_true", help="print JSON instead of tables")
    common.add_argument(
        "--jobs", type=_positive, default=default_jobs(), help="processes; default: one a processor"
    )
    writing = _Parser(add_help=False)
    writing.add_argument(
        "data", type=Path, help="folder with a folder per class, or with a .txt beside each image"
    )
    writing.add_argument("--output", type=Path, required=True, help="folder to write")
    writing.add_argument("--force", action="store_true", help="replace an output of this tool")
    how = writing.add_mutually_exclusive_group()
    how.add_argument(
        "--copy", dest="how", action="store_const", const=COPY, default=HARD_LINK, help="copy files"
    )
    how.add_argument("--link", dest="how", action="store_const", const=SYMLINK, help="symlinks")
    _add_split(commands, [writing, common])
    _add_reading(commands, common)
    mapping = commands.add_parser("map", parents=[writing, common], help="put classes together")
    mapping.set_defaults(command="map")
    mapping.add_argument(
        "--rules", type=Path, required=True, help="YAML, `old class: new class`; null drops"
    )
    mapping.add_argument("--form", choices=FORMS, default=FOLDERS, help="also write lists")
    mapping.add_argument("--labels", type=Path, help="all classes in their order, for the lists")
    return parser


def _add_split(commands: argparse._SubParsersAction[_Parser], parents: list[_Parser]) -> None:
    split = commands.add_parser("split", parents=parents, help="train, val and test")
    split.set_defaults(command="split")
    split.add_argument(
        "--ratios", type=float, nargs="+", metavar="R", help="train val [test]; default 0.7 0.2 0.1"
    )
    split.add_argument("--seed", type=int, help="another number shares out another way; default 0")
    split.add_argument(
        "--together",
        type=_pattern,
        metavar="REGEX",
        help="images whose names have the same (first group of a) match stay in one split",
    )
    split.add_argument("--form", choices=FORMS, default=PADDLEX, help="of the lists; folders: none")
    split.add_argument("--every", type=int, metavar="N", help="every Nth image to val, no test")
    split.add_argument("--labels", type=Path, help="label file: all classes in their order")
    split.add_argument(
        "--leave-out", nargs="+", default=[], metavar="CLASS", help="folders that are not classes"
    )


def _add_reading(commands: argparse._SubParsersAction[_Parser], common: _Parser) -> None:
    checking = commands.add_parser("check", parents=[common], help="look for faults")
    checking.set_defaults(command="check")
    checking.add_argument("data", type=Path, nargs="+", help="folders, or list files")
    checking.add_argument("--labels", type=Path, help="of the lists or the .txt files")
    measuring = commands.add_parser("statistics", parents=[common], help="mean and std")
    measuring.set_defaults(command="statistics")
    measuring.add_argument("data", type=Path, help="folder (of a split one, train), or list file")
    measuring.add_argument("--size", type=_positive, help="resize to SIZE x SIZE first")
    for parser in (checking, measuring):
        parser.add_argument("--root", type=Path, help="where paths in lists begin")


class _Parser(argparse.ArgumentParser):
    """Reports a wrong command line in one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"error: {message}; {self.prog} --help shows the options\n")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error
