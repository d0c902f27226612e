"""One word for one thing in the documents: the glossary of docs/contributing.md."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = re.compile(r"^ *```.*?^ *```|`[^`\n]+`|\]\([^)]*\)", re.MULTILINE | re.DOTALL)
# Sentences, not code or output: an option or a file may keep a name.
ENGLISH = re.compile(
    r"\b(pictures?|told|tells?|whoever|somebody|wishes|gathered|understands?|understood|asked)\b",
    re.IGNORECASE,
)
CHINESE = re.compile(r"回答|您|转换器|\bworkers?\b")


def _documents() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", "*.md"], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    names = listed.stdout.decode().split("\0")
    # The glossary itself names the words not to use.
    return [ROOT / name for name in names if name and "contributing" not in name]


def test_documents_use_the_words_of_the_glossary() -> None:
    found = []
    for document in _documents():
        text = CODE.sub(" ", document.read_text(encoding="utf-8"))
        words = CHINESE if document.name.endswith(".zh-CN.md") else ENGLISH
        for word in words.finditer(text):
            around = text[max(0, word.start() - 40) : word.end() + 20].replace("\n", " ")
            found.append(f"{document.relative_to(ROOT)}: {around}")
    assert found == [], "see the glossary in docs/contributing.md"
