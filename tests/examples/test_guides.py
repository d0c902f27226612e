"""The commands in the guides are whole: the programs take them; what one reads another wrote."""

from __future__ import annotations

import argparse
import importlib
import re
import shlex
import textwrap
from collections.abc import Sequence
from pathlib import Path

import pytest

FENCE = re.compile(r"^( *)```(?:console|bash)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(
    r"^(?:\$ )?(?:\w+=\S+ )*(?:\.venv/bin/)?python (-m [\w.]+|[\w/]+\.py) ?(.*)$", re.MULTILINE
)
# What stands for something that the reader knows, or for the rest of a command.
OPEN = re.compile(r"\.\.\.|[\[\]<>]")


# What a guide calls, and the module whose `main` takes the arguments.
PROGRAMS = {
    "-m tools.datasets": "tools.datasets.__main__",
    "-m tools.evaluation": "tools.evaluation.__main__",
    "-m tools.train": "tools.train.__main__",
    "-m converter": "converter.__main__",
    "-m benchmarks": "benchmarks.__main__",
    "pipeline/web_service.py": "pipeline.web_service",
    "client/http_client.py": "client.http_client",
    "client/rpc_client.py": "client.rpc_client",
}


class _Parsed(BaseException):
    """The command line has been read; the program goes no further."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options


def parse(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Return how the program reads its arguments, without running it; SystemExit: it refuses."""
    read = argparse.ArgumentParser.parse_args

    def stop(
        parser: argparse.ArgumentParser, given: Sequence[str] | None = None, *rest: object
    ) -> None:
        raise _Parsed(read(parser, given, *rest))

    main = importlib.import_module(PROGRAMS[program]).main
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", stop)
        try:
            main(arguments)
        except _Parsed as parsed:
            return parsed.options
    raise AssertionError(f"{program} has read no command line")


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
        if program in PROGRAMS and not OPEN.search(line.partition(" #")[0])
    ]


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_command_is_one_that_the_program_takes(
    root: Path, program: str, capsys: pytest.CaptureFixture[str]
) -> None:
    seen = 0
    for guide in guides(root):
        for shown, arguments in commands(guide):
            if shown != program:
                continue
            seen += 1
            try:
                parse(program, arguments)
            except SystemExit:
                text = f"{guide.name}: {program} {shlex.join(arguments)}"
                pytest.fail(f"{text}: {capsys.readouterr().err}")
    assert seen


def test_a_list_that_is_evaluated_was_written_by_a_command_above(root: Path) -> None:
    lists = 0
    for guide in sorted(root.glob("examples/*/README*.md")):
        written: set[Path] = set()
        for program, arguments in commands(guide):
            if program not in ("-m tools.datasets", "-m tools.evaluation"):
                continue
            options = parse(program, arguments)
            if "output" in options:
                written.add(options.output)
            elif "bundle" in options and options.data.name.endswith("_list.txt"):
                lists += 1
                assert options.data.parent in written, f"{guide}: nothing writes {options.data}"
    assert lists >= 4
