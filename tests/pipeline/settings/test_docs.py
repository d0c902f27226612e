from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.predictors.registry import RUNTIMES
from pipeline.settings.docs import tables


def test_the_documentation_shows_the_keys_as_they_are(root: Path) -> None:
    documented = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert tables() in documented, "run `python -m pipeline.settings.docs` for it"


def test_the_chinese_documentation_has_the_same_keys_and_defaults(root: Path) -> None:
    documented = (root / "docs" / "configuration.zh-CN.md").read_text(encoding="utf-8")
    assert _rows(documented) == _rows(tables())


@pytest.mark.parametrize("name", ["configuration.md", "configuration.zh-CN.md"])
def test_the_row_of_backend_names_every_runtime_in_the_order_of_auto(root: Path, name: str) -> None:
    lines = (root / "docs" / name).read_text(encoding="utf-8").splitlines()
    (row,) = [line for line in lines if line.startswith("| `backend`")]
    assert re.findall(r"`(\w+)`", row)[2:] == list(RUNTIMES)


def _rows(text: str) -> list[list[str]]:
    """Return key and default (or place) of each row, without what is said in a language."""
    rows = [line.split(" | ")[:2] for line in text.splitlines() if line.startswith("| `")]
    words = {" (ours)": "*", "（新增）": "*", "The service": "服务", "<service>": "<服务名>"}
    for row in rows:
        for word, sign in words.items():
            row[:] = [cell.replace(word, sign) for cell in row]
    return rows
