"""The images that a command line names: files, folders, or the sample images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})
SAMPLES = Path(__file__).resolve().parent.parent / "examples" / "images"


class NoImage(Exception):
    """The command line names no image; the text says what is missing."""


def find_images(names: Sequence[str]) -> list[Path]:
    """Return the images of `names`, in order; those of a folder and its sub-folders are sorted.

    A file is sent whatever its name is: the service decides what it can read.

    Raises:
        NoImage: a name does not exist, or a folder holds no image.
    """
    if not names:
        return _samples()
    images: list[Path] = []
    for name in names:
        path = Path(name)
        try:
            found = _walk(path) if path.is_dir() else [path] if path.exists() else []
        except OSError as error:
            raise NoImage(f"cannot read {name}: {(error.strerror or '').lower()}") from error
        if not found and path.is_dir():
            suffixes = " ".join(sorted(suffix[1:] for suffix in SUFFIXES))
            raise NoImage(f"the folder {name} holds no image ({suffixes})")
        if not found:
            raise NoImage(
                f"there is no image or folder {name}; check the path (the working folder is "
                f"{Path.cwd()})"
            )
        images.extend(found)
    return images


def _walk(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if _is_image(path))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


def _samples() -> list[Path]:
    """Return the sample images, not what they are made from, as short paths where possible."""
    samples = sorted(p for p in SAMPLES.glob("*") if _is_image(p))
    if not samples:
        raise NoImage(f"no image is given, and there are no sample images in {SAMPLES}")
    try:
        return [Path(os.path.relpath(p)) if p.is_relative_to(Path.cwd()) else p for p in samples]
    except OSError:  # the current folder is gone
        return samples
