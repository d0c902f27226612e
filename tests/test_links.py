"""What the documents point to is there, in both languages."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

LINK = re.compile(r"\]\((?!https?://|mailto:)([^)#\s]*)(?:#([^)\s]+))?\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def _documents(root: Path) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=root,
        capture_output=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [root / name for name in listed.stdout.decode().split("\0") if name]


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


def test_every_guide_is_there_in_both_languages(root: Path) -> None:
    guides = {path.name for path in (root / "docs").glob("*.md")}
    english = {name for name in guides if not name.endswith(".zh-CN.md")}
    assert guides - english == {name.replace(".md", ".zh-CN.md") for name in english}
    for name in english:
        other = name.replace(".md", ".zh-CN.md")
        assert f"({other})" in (root / "docs" / name).read_text(encoding="utf-8")
        assert f"({name})" in (root / "docs" / other).read_text(encoding="utf-8")
