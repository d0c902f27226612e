"""A clock that is set, or jumps, moves no deadline: whatever waits uses a monotonic one."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

WALL_CLOCKS = {
    "time.time",
    "time.time_ns",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "datetime.datetime.now",
    "datetime.datetime.utcnow",
    "datetime.datetime.today",
    "datetime.date.today",
}
MODULES = {"time", "datetime"}
# What is shown to people and to collectors is wall-clock time; nothing waits for it.
SHOWN = {"hosts/reload.py", "observation/tracing.py"}
# These read the clock of what another thread or process has computed, which nothing sets.
COMPUTING = {"engine/decode_process.py", "engine/decode_thread.py"}


def wall_clocks(source: str) -> list[str]:
    """Return the wall clocks that a module names, under whatever name it has imported them."""
    tree = ast.parse(source)
    meant: dict[str, str] = {}  # name in this module -> what it is
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in MODULES:
                    meant[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES and not node.level:
            for alias in node.names:
                meant[alias.asname or alias.name] = f"{node.module}.{alias.name}"
    found = [name for name in meant.values() if name in WALL_CLOCKS or name.endswith(".*")]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and (name := dotted(node, meant)) in WALL_CLOCKS:
            found.append(name)
    return found


def dotted(node: ast.expr, meant: dict[str, str]) -> str:
    """Return "datetime.datetime.now" of `dt.now`, where dt is that; "" if it is something else."""
    if isinstance(node, ast.Name):
        return meant.get(node.id, "")
    if isinstance(node, ast.Attribute) and (of := dotted(node.value, meant)):
        return f"{of}.{node.attr}"
    return ""


def test_nothing_waits_by_the_wall_clock(root: Path) -> None:
    package = root / "pipeline"
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if wall_clocks(path.read_text(encoding="utf-8"))
    }
    assert found == SHOWN | COMPUTING


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import time\nx = time.time() + 1", "time.time"),
        ("import time as t\nx = t.time_ns", "time.time_ns"),
        ("from time import time", "time.time"),
        ("def f():\n    from time import time as monotonic", "time.time"),
        ("from time import *", "time.*"),
        ("import datetime\ndatetime.datetime.now()", "datetime.datetime.now"),
        ("import datetime as d\nd.date.today()", "datetime.date.today"),
        ("from datetime import datetime as dt, UTC\ndt.now(UTC)", "datetime.datetime.now"),
    ],
)
def test_a_wall_clock_would_be_found(source: str, found: str) -> None:
    assert wall_clocks(source) == [found]


def test_other_clocks_are_none() -> None:
    source = "import time\nfrom time import monotonic as time_\nx.time() + time.monotonic()"
    assert wall_clocks(source) == []
