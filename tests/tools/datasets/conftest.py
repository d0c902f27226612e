"""Datasets of drawn images."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.tools.datasets.calls import Draw, noise, save


@pytest.fixture
def draw() -> Draw:
    """Write a noise image that no other seed gives."""

    def write(path: Path, seed: int, size: tuple[int, int] = (20, 24)) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        written, data = cv2.imencode(path.suffix, rng.integers(0, 256, (*size, 3), np.uint8))
        assert written
        path.write_bytes(data.tobytes())
        return path

    return write


@pytest.fixture
def class_folders(tmp_path: Path, draw: Draw) -> Path:
    """40 images of glass, 20 of paper, 10 of trash, with what else lies in such folders."""
    folder = tmp_path / "data"
    for start, (name, count) in enumerate({"glass": 40, "paper": 20, "trash": 10}.items()):
        for i in range(count):
            draw(folder / name / f"{name}{i:02}.png", 1000 * start + i)
    (folder / "glass" / "Thumbs.db").write_bytes(b"no image")
    (folder / ".ipynb_checkpoints").mkdir()
    return folder


@pytest.fixture
def listed_dataset(tmp_path: Path) -> Path:
    """Six images each of bottle and can in train, two each in val; and their lists."""
    folder = tmp_path / "data"
    lines: dict[str, list[str]] = {"train": [], "val": []}
    for number, name in enumerate(("bottle", "can")):
        for i in range(8):
            split = "train" if i < 6 else "val"
            save(folder / split / name / f"{i}.png", noise(100 * number + i))
            lines[split].append(f"{split}/{name}/{i}.png {number}\n")
    for split, texts in lines.items():
        (folder / f"{split}_list.txt").write_text("".join(texts), encoding="utf-8")
    (folder / "label_list.txt").write_text("0 bottle\n1 can\n", encoding="utf-8")
    return folder
