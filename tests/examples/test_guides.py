"""The commands in the guides are whole: the tools take them, and what one reads another wrote."""

from __future__ import annotations

import argparse
import re
import shlex
from pathlib import Path

import pytest

from tools.datasets.command_line import command_line
from tools.evaluation.__main__ import _parser as evaluation_parser

FENCE = re.compile(r"^```console\n(.*?)^```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\$ (?:\.venv/bin/)?python -m tools\.(datasets|evaluation) (.*)$", re.M)
PARSERS = {"datasets": command_line, "evaluation": evaluation_parser}


def guides(root: Path) -> list[Path]:
    return sorted([*root.glob("docs/*.md"), *root.glob("examples/*/README*.md")])


def commands(guide: Path) -> list[tuple[str, list[str]]]:
    """The tool and the arguments of each call that is shown."""
    text = "".join(FENCE.findall(guide.read_text(encoding="utf-8"))).replace("\\\n", " ")
    return [(tool, shlex.split(line, comments=True)) for tool, line in COMMAND.findall(text)]


def parsed(guide: Path) -> list[argparse.Namespace]:
    return [PARSERS[tool]().parse_args(arguments) for tool, arguments in commands(guide)]


def test_every_command_is_one_that_the_tool_takes(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = 0
    for guide in guides(root):
        for tool, arguments in commands(guide):
            seen += 1
            try:
                PARSERS[tool]().parse_args(arguments)
            except SystemExit:
                pytest.fail(f"{guide.name}: {shlex.join(arguments)}: {capsys.readouterr().err}")
    assert seen > 40


def test_a_list_that_is_evaluated_was_written_by_a_command_above(root: Path) -> None:
    lists = 0
    for guide in sorted(root.glob("examples/*/README*.md")):
        written: set[Path] = set()
        for options in parsed(guide):
            if "output" in options:
                written.add(options.output)
            elif "bundle" in options and options.data.name.endswith("_list.txt"):
                lists += 1
                assert options.data.parent in written, f"{guide}: nothing writes {options.data}"
    assert lists >= 4
