"""The commands in the guides are whole: the programs take them; what one reads another wrote."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import pytest

Parser: TypeAlias = Callable[[Sequence[str]], argparse.Namespace]

FENCE = re.compile(r"^( *)```(?:console|bash)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"^(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?python (-m [\w.]+|[\w/]+\.py) ?(.*)$", re.MULTILINE
)
# What stands for something that the reader knows, or for the rest of a command.
OPEN = re.compile(r"\.\.\.|[\[\]<>]")


def _client_parser(module: object) -> Parser:
    """Return what reads the arguments of a client's command, without running it."""

    def parse(arguments: Sequence[str]) -> argparse.Namespace:
        read: list[argparse.Namespace] = []

        def run(parser: argparse.ArgumentParser, _connect: object, given: Sequence[str]) -> int:
            read.append(parser.parse_args(given))
            return 0

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "run_command", run)
            module.main(arguments)  # type: ignore[attr-defined]
        return read[0]

    return parse


def _clients(name: str) -> Parser:
    return _client_parser(importlib.import_module(f"client.{name}"))


def _own(module: str, function: str = "_parser", *arguments: object) -> Parser:
    parser: argparse.ArgumentParser = getattr(importlib.import_module(module), function)(*arguments)
    return parser.parse_args


# What reads the arguments of each program.
PARSERS: dict[str, Callable[[], Parser]] = {
    "-m tools.datasets": lambda: _own("tools.datasets.command_line", "command_line"),
    "-m tools.evaluation": lambda: _own("tools.evaluation.__main__"),
    "-m tools.train": lambda: _own("tools.train.command_line", "command_parser", None),
    "-m converter": lambda: _own("converter.__main__"),
    "-m benchmarks": lambda: _own("benchmarks.__main__"),
    "pipeline/web_service.py": lambda: _own("pipeline.web_service"),
    "client/http_client.py": lambda: _clients("http_client"),
    "client/rpc_client.py": lambda: _clients("rpc_client"),
}


def guides(root: Path) -> list[Path]:
    patterns = ("README*.md", "docs/*.md", "examples/*/README*.md", "serving_model/*/README.md")
    return sorted(path for pattern in patterns for path in root.glob(pattern))


def commands(guide: Path) -> list[tuple[str, list[str]]]:
    """The program and the arguments of each call that is shown."""
    blocks = [textwrap.dedent(block) for _, block in FENCE.findall(guide.read_text("utf-8"))]
    text = "\n".join(blocks).replace("\\\n", " ")
    return [
        (program, shlex.split(line, comments=True))
        for program, line in COMMAND.findall(text)
        if program in PARSERS and not OPEN.search(line.partition(" #")[0])
    ]


@pytest.mark.parametrize("program", PARSERS)
def test_every_command_is_one_that_the_program_takes(
    root: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parse = PARSERS[program]()
    seen = 0
    for guide in guides(root):
        for shown, arguments in commands(guide):
            if shown != program:
                continue
            seen += 1
            try:
                parse(arguments)
            except SystemExit:
                text = f"{guide.name}: {program} {shlex.join(arguments)}"
                pytest.fail(f"{text}: {capsys.readouterr().err}")
    assert seen


def test_a_list_that_is_evaluated_was_written_by_a_command_above(root: Path) -> None:
    parse = {name: PARSERS[name]() for name in ("-m tools.datasets", "-m tools.evaluation")}
    lists = 0
    for guide in sorted(root.glob("examples/*/README*.md")):
        written: set[Path] = set()
        for program, arguments in commands(guide):
            if program not in parse:
                continue
            options = parse[program](arguments)
            if "output" in options:
                written.add(options.output)
            elif "bundle" in options and options.data.name.endswith("_list.txt"):
                lists += 1
                assert options.data.parent in written, f"{guide}: nothing writes {options.data}"
    assert lists >= 4
