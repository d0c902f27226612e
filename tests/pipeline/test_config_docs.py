from __future__ import annotations

from pathlib import Path

from pipeline.config_docs import tables


def test_the_documentation_shows_the_keys_as_they_are(root: Path) -> None:
    documented = (root / "docs" / "configuration.md").read_text(encoding="utf-8")
    assert tables() in documented, "run `python -m pipeline.config_docs` into docs/configuration.md"
