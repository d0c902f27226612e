"""The images that a benchmark sends."""

from __future__ import annotations

from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp"})


def image_files(folder: Path, most: int) -> list[Path]:
    """Return up to `most` images of `folder` and its sub-folders, spread over all of them."""
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    if not files:
        raise SystemExit(f"error: no images in {folder}; give a folder with --images")
    step = max(1, len(files) // most)
    return files[::step][:most]
