"""What the documents point to exists: links, files, modules and tests, in both languages."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
QUOTED = re.compile(r"`([^`\n]+)`")
# Folders of the repository: a quoted path that begins with one of them is a file of ours.
ROOMS = (
    "benchmarks|bundle|client|configs|converter|deploy|docs|examples|labels|pipeline|protocol"
    "|reliability|requirements|tests|tools"
)
OUR_FILE = re.compile(rf"^(?:{ROOMS})/[\w./-]*$")
MODULE = re.compile(rf"\bpython3? -m ((?:{ROOMS})(?:\.\w+)*)")
SCRIPT = re.compile(r"\bpython3? ((?:client|pipeline|examples|tests|tools)/[\w/.]+)")
# Files of PaddleClas' repository, and those that a reader makes.
PADDLECLAS = re.compile(r"^tools/(train|eval|export_model)\.py$|^deploy/(configs|lite|python/)")
MADE = re.compile(r"/(peach|mine|my)\.(yml|txt)$")


def _documents(root: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = [name for name in listed.stdout.decode().split("\0") if name]
    return [root / name for name in names if (root / name).exists()]


def _anchors(document: Path) -> set[str]:
    """Return the anchors that GitHub makes of the headings, and those written out."""
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ +(.+?)\s*$", text, re.MULTILINE)
    made = {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}
    return made | set(re.findall(r'<a id="([^"]+)">', text))


def test_every_link_leads_somewhere(root: Path) -> None:
    dead = []
    for document in _documents(root):
        text = FENCE.sub("", document.read_text(encoding="utf-8"))
        for path, anchor in LINK.findall(text):
            target = document.parent / path if path else document
            if not target.exists():
                dead.append(f"{document.relative_to(root)}: {path}")
            elif anchor and anchor not in _anchors(target):
                dead.append(f"{document.relative_to(root)}: {path}#{anchor}")
    assert dead == []


def _named_files(text: str) -> Iterator[str]:
    for quoted in QUOTED.findall(FENCE.sub("", text)):
        if OUR_FILE.match(quoted) and not MADE.search(quoted) and not PADDLECLAS.match(quoted):
            yield quoted
    yield from (name for name in SCRIPT.findall(text) if not PADDLECLAS.match(name))


def test_every_file_that_is_named_exists(root: Path) -> None:
    missing = [
        f"{document.relative_to(root)}: {name}"
        for document in _documents(root)
        for name in _named_files(document.read_text(encoding="utf-8"))
        if not (root / name).exists()
    ]
    assert missing == []


def test_every_module_that_is_run_exists(root: Path) -> None:
    missing = []
    for document in _documents(root):
        for module in MODULE.findall(document.read_text(encoding="utf-8")):
            path = root / module.replace(".", "/")
            if not (path / "__main__.py").exists() and not path.with_suffix(".py").exists():
                missing.append(f"{document.relative_to(root)}: python -m {module}")
    assert missing == []


def test_every_promise_of_security_names_its_tests_by_path(root: Path) -> None:
    text = (root / "SECURITY.md").read_text(encoding="utf-8")
    tests = re.findall(r"`([^`]*\btest_[\w/]+\.py)`", text)
    assert len(tests) >= 20
    assert [name for name in tests if not (root / name).is_file()] == []


@pytest.mark.parametrize("suffix", [".md", ".zh-CN.md"])
def test_the_readme_leads_to_every_guide(root: Path, suffix: str) -> None:
    linked = {path for path, _ in LINK.findall((root / f"README{suffix}").read_text("utf-8"))}
    guides = {f"docs/{path.name}" for path in (root / "docs").glob("*.md")}
    chinese = {name for name in guides if name.endswith(".zh-CN.md")}
    wanted = chinese if suffix == ".zh-CN.md" else guides - chinese
    assert wanted - linked == set()
