"""The images that other libraries are tested with: every difference is of a kind that is listed.

`PADDLE_SERVING_KIT_IMAGES` names the folders, with colons between. For that of Pillow's sources
(`pip download --no-binary :all: --no-deps pillow==13.0.0`) the counts in the documents are checked.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import PIL
import pytest

VARIABLE = "PADDLE_SERVING_KIT_IMAGES"
PILLOW_FILES, COUNTED_WITH = 1060, ("5.0.0", "13.0.0")
ROW = re.compile(r"^\| ([^|]+) \| (\d+) \| (\d+) \|", re.MULTILINE)

pytestmark = pytest.mark.slow


def folders() -> list[Any]:
    named = [Path(name) for name in os.environ.get(VARIABLE, "").split(os.pathsep) if name]
    if named:
        return named
    skip = pytest.mark.skip(reason=f"no images of others: {VARIABLE} names their folders")
    return [pytest.param(Path("none"), marks=skip)]


@pytest.mark.parametrize("folder", folders(), ids=str)
def test_every_difference_is_of_a_listed_kind(root: Path, folder: Path) -> None:
    assert folder.is_dir(), f"{VARIABLE} names {folder}, which is no folder"
    script = Path(__file__).with_name("image_collection.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    found = json.loads(done.stdout)
    assert found["read"] > 0
    for library in ("opencv", "pillow"):
        unlisted = [name for name, kind in found[library].items() if kind == "unlisted"]
        assert unlisted == [], library
    if (found["files"], (cv2.__version__, PIL.__version__)) == (PILLOW_FILES, COUNTED_WITH):
        assert f"{found['read']} are read here" in (root / "docs/preprocessing.md").read_text()
        for name in ("preprocessing.md", "preprocessing.zh-CN.md"):
            _compare_counts(root / "docs" / name, found)


def _compare_counts(document: Path, found: dict[str, Any]) -> None:
    """The rows of the document's table, in the order of the English one, have these counts."""
    english = document.parent / "preprocessing.md"
    kinds = [kind.strip() for kind, _, _ in ROW.findall(english.read_text(encoding="utf-8"))]
    opencv, pillow = (Counter(found[library].values()) for library in ("opencv", "pillow"))
    assert set(opencv) | set(pillow) <= set(kinds)
    stated = [(int(a), int(b)) for _, a, b in ROW.findall(document.read_text(encoding="utf-8"))]
    assert stated == [(opencv[kind], pillow[kind]) for kind in kinds]
