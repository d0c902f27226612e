"""Images to run a model on: those that were given, else drawn ones, the same everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..errors import ConversionError

_SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")

# Height and width: landscape, portrait, square, odd, small, wide.
_SIZES = (
    (480, 640),
    (640, 480),
    (512, 512),
    (481, 643),
    (96, 120),
    (300, 900),
    (720, 405),
    (64, 64),
)


_NAMED = 3  # images that were left out, by name


def given_images(paths: Sequence[Path]) -> tuple[dict[str, bytes], list[str]]:
    """Return files by name, and the names of those that cannot be read.

    A folder stands for all images in and below it. A broken link is as unreadable as a file
    without rights; whether the others are images is found when they are decoded.

    Raises:
        ConversionError: a path is missing, or a folder without images.
    """
    files: list[Path] = []
    for path in paths:
        if not path.exists():
            raise ConversionError(f"--images {path}: there is no such file or folder")
        found = [path]
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
        if not found:
            raise ConversionError(f"--images {path}: holds no images ({', '.join(_SUFFIXES)})")
        files += found
    images, unreadable = {}, []
    for file in files:
        try:
            images[str(file)] = file.read_bytes()
        except OSError:
            unreadable.append(str(file))
    return images, unreadable


def none_readable(unreadable: Sequence[str]) -> ConversionError:
    """The error of images that are unreadable, all of them."""
    return ConversionError(
        f"{shown(unreadable)}: none of the images can be read; give others with --images"
    )


def shown(names: Sequence[str]) -> str:
    """Names in one line: the first of them, and how many more there are."""
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def drawn_images() -> dict[str, bytes]:
    """Return PNG files by name: blobs of colour under some grain, as different as photographs."""
    images = {}
    random = np.random.default_rng(20)
    for number, (height, width) in enumerate(_SIZES, 1):
        coarse = random.uniform(0, 255, (3 + number, 3 + number, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 4 * number, (height, width, 1))
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        images[f"drawn {number} ({width}x{height})"] = cv2.imencode(".png", image)[1].tobytes()
    return images
