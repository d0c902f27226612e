"""Print the branch coverage of each room: `make coverage` measures, and calls this."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import coverage

# Packages whose folders are rooms of their own.
HOUSES = ("pipeline", "converter", "tools")


def room_of(file: str) -> str:
    """Return the room of a source file, whose path starts at the repository's root."""
    first, *rest = Path(file).parts
    return f"{first}/{rest[0]}" if first in HOUSES and len(rest) > 1 else first


def table_of(files: Iterable[tuple[str, dict[str, Any]]]) -> list[tuple[str, int, int, float]]:
    """Return room, statements, branches and the share of both that ran, in percent."""
    counted: dict[str, Counter[str]] = {}
    for file, summary in files:
        counted.setdefault(room_of(file), Counter()).update(
            {key: value for key, value in summary.items() if isinstance(value, int)}
        )
    counted["all"] = sum(counted.values(), Counter[str]())
    return [
        (
            room,
            count["num_statements"],
            count["num_branches"],
            100
            * (count["covered_lines"] + count["covered_branches"])
            / max(1, count["num_statements"] + count["num_branches"]),
        )
        for room, count in sorted(counted.items(), key=lambda entry: (entry[0] == "all", entry[0]))
    ]


def main() -> None:
    measured = coverage.Coverage()
    measured.load()
    with tempfile.NamedTemporaryFile(suffix=".json") as report:
        measured.json_report(outfile=report.name)
        files = json.loads(Path(report.name).read_bytes())["files"]
    print(f"{'room':24} {'statements':>10} {'branches':>9} {'covered':>9}")
    for room, statements, branches, percent in table_of(
        (file, entry["summary"]) for file, entry in files.items()
    ):
        print(f"{room:24} {statements:10} {branches:9} {percent:8.1f}%")


if __name__ == "__main__":
    main()
