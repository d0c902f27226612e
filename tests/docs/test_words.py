"""One word for one thing in documents and code: the glossary of docs/contributing.md."""

from __future__ import annotations

import io
import re
import subprocess
import tokenize
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


def _files(pattern: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-z", pattern], cwd=ROOT, capture_output=True, check=False
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.stdout.decode().split("\0") if name]


def _documents() -> list[Path]:
    # The glossary itself names the words not to use.
    return [path for path in _files("*.md") if "contributing" not in path.name]


def _prose(code: str) -> str:
    """Comments and docstrings; other strings may be names of options and of JSON fields."""
    tokens = tokenize.generate_tokens(io.StringIO(code).readline)
    return "\n".join(
        token.string
        for token in tokens
        if token.type == tokenize.COMMENT
        or (token.type == tokenize.STRING and token.string.lstrip("rf").startswith('"""'))
    )


def test_documents_use_the_words_of_the_glossary() -> None:
    found = []
    for document in _documents():
        text = CODE.sub(" ", document.read_text(encoding="utf-8"))
        words = CHINESE if document.name.endswith(".zh-CN.md") else ENGLISH
        for word in words.finditer(text):
            around = text[max(0, word.start() - 40) : word.end() + 20].replace("\n", " ")
            found.append(f"{document.relative_to(ROOT)}: {around}")
    assert found == [], "see the glossary in docs/contributing.md"


def test_comments_and_docstrings_use_the_words_of_the_glossary() -> None:
    found = []
    for path in _files("*.py"):
        name = str(path.relative_to(ROOT))
        if name.startswith("tests/") or "_pb2" in name:
            continue
        text = CODE.sub(" ", _prose(path.read_text(encoding="utf-8")))
        found += [f"{name}: {word[0]}" for word in ENGLISH.finditer(text)]
    assert found == [], "see the glossary in docs/contributing.md"
