"""Promises of SECURITY.md about the code itself, read off its syntax trees."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path

import pytest

# What runs in the service process, in its workers, or at a caller's.
PACKAGES = ("protocol", "bundle", "pipeline", "client", "converter")
# The host for the official engine hands requests to it as 0.9 does; nothing of ours unpickles.
SERVED = ("protocol", "bundle", "pipeline")

UNPICKLING = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
FETCHING = {"urllib.request", "requests", "httpx", "aiohttp", "ftplib", "http.client"}


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def calls(tree: ast.AST) -> list[tuple[str, ast.Call]]:
    """Return every call with what is called, in dots."""
    return [(ast.unparse(node.func), node) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def keyword(call: ast.Call, name: str) -> str | None:
    return next((ast.unparse(k.value) for k in call.keywords if k.arg == name), None)


def unpickles(tree: ast.AST) -> bool:
    return bool(imported(tree) & UNPICKLING) or any(
        name.endswith("np.load") and keyword(call, "allow_pickle") not in (None, "False")
        for name, call in calls(tree)
    )


def evaluates(tree: ast.AST) -> bool:
    return any(name in ("eval", "exec", "compile", "__import__") for name, _ in calls(tree))


def loads_yaml_objects(tree: ast.AST) -> bool:
    """yaml.load with a loader that makes Python objects; ours make plain values."""
    plain = ("yaml.SafeLoader", "yaml.BaseLoader", "_TextLoader if texts else _PlainLoader")
    return any(
        name in ("yaml.unsafe_load", "yaml.full_load")
        or (name == "yaml.load" and keyword(call, "Loader") not in plain)
        for name, call in calls(tree)
    )


def uses_a_shell(tree: ast.AST) -> bool:
    return any(
        name in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput")
        or keyword(call, "shell") not in (None, "False")
        for name, call in calls(tree)
    )


def fetches(tree: ast.AST) -> bool:
    return bool(imported(tree) & FETCHING)


RULES: dict[str, tuple[Callable[[ast.AST], bool], tuple[str, ...], set[str], str]] = {
    # rule: (finds it, where, files that may, an example that it must find)
    "nothing is unpickled": (unpickles, PACKAGES, set(), "import pickle"),
    "no text becomes code": (evaluates, PACKAGES, set(), "eval('1')"),
    "YAML makes plain values": (loads_yaml_objects, PACKAGES, set(), "yaml.load(x, Loader=L)"),
    "no shell": (uses_a_shell, PACKAGES, set(), "subprocess.run('ls', shell=True)"),
    "the service fetches nothing": (
        fetches,
        SERVED,
        {"pipeline/admin_client.py"},  # asks a service, is none
        "import httpx",
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_the_rule_holds(root: Path, rule: str) -> None:
    find, packages, allowed, _ = RULES[rule]
    found = {
        str(path.relative_to(root))
        for package in packages
        for path in (root / package).rglob("*.py")
        if find(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == allowed


@pytest.mark.parametrize("rule", RULES)
def test_a_breach_would_be_found(rule: str) -> None:
    find, _, _, breach = RULES[rule]
    assert find(ast.parse(breach))


@pytest.mark.parametrize(
    ("find", "breach"),
    [
        (unpickles, "from pickle import loads"),
        (unpickles, "import numpy as np\nnp.load(f, allow_pickle=True)"),
        (loads_yaml_objects, "yaml.full_load(x)"),
        (uses_a_shell, "import os\nos.system('ls')"),
        (fetches, "from urllib.request import urlopen"),
        (fetches, "from urllib import request\nimport urllib.request"),
    ],
)
def test_other_ways_would_be_found_too(find: Callable[[ast.AST], bool], breach: str) -> None:
    assert find(ast.parse(breach))
