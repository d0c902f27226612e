"""Images of a dataset, decoded and in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.stages.decode import decode_image
from protocol.errors import ServingError

from .errors import DataError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


@dataclass(frozen=True)
class ImageSet:
    """`images` are uint8 [H, W, 3] RGB; `targets` int64 [N] index `classes`."""

    images: list[np.ndarray]
    targets: np.ndarray
    classes: tuple[str, ...]
    paths: list[Path]


def load_images(
    folder: Path, short_side: int, classes: tuple[str, ...] = (), *, as_served: bool = False
) -> ImageSet:
    """Read `folder`/<class>/*, sized as `read_images` says.

    Classes are the sub-folders in alphabetical order, or `classes` if given.

    Raises:
        DataError: no class folders, a class without images, or an unreadable image.
    """
    found = class_names(folder)
    classes = classes or found
    unknown = [name for name in found if name not in classes]
    if unknown:
        raise DataError(f"{folder} has classes that were not trained on: {unknown}")
    listed = [(path, i) for i, name in enumerate(classes) for path in _listed(folder / name)]
    counts = np.bincount([i for _, i in listed], minlength=len(classes))
    if len(classes) < 2 or counts.min() == 0:
        empty = [name for name, count in zip(classes, counts, strict=True) if count == 0]
        raise DataError(f"{folder} needs two or more class folders with images; empty: {empty}")
    return read_images(listed, short_side, classes, folder.name, as_served=as_served)


def read_images(
    listed: Sequence[tuple[Path, int]],
    short_side: int,
    classes: tuple[str, ...],
    name: str,
    *,
    as_served: bool = False,
) -> ImageSet:
    """Decode images with the number of their class; `name` is for the progress bar.

    To train on, larger images are made smaller in the best way; with `as_served` all are resized
    as the service resizes them, so that they have the scores of the service.

    Raises:
        DataError: one cannot be read.
    """
    with tqdm(listed, f"reading {name}") as bar:  # an error gets a line of its own
        images = [_read(path, short_side, as_served=as_served) for path, _ in bar]
    return ImageSet(images, np.array([i for _, i in listed]), classes, [p for p, _ in listed])


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders in `folder`, in the order of the network's outputs.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; it must hold one folder a class")
    return tuple(sorted(f.name for f in folder.iterdir() if f.is_dir() and not _left_over(f)))


def _left_over(folder: Path) -> bool:
    # Left behind by notebooks (.ipynb_checkpoints) and by archives made on a Mac (__MACOSX).
    return folder.name.startswith(".") or folder.name == "__MACOSX"


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read(path: Path, short_side: int, *, as_served: bool) -> np.ndarray:
    # With the decoder of the service: an image that it refuses (half a JPEG) is not trained on.
    try:
        image = decode_image(path.read_bytes())
    except (ServingError, OSError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise DataError(
            f"{path} cannot be read as an image: {why}; take it out or mend it"
        ) from error
    if as_served:
        return _resized(image, short_side, cv2.INTER_LINEAR)
    if short_side < min(image.shape[:2]):
        return _resized(image, short_side, cv2.INTER_AREA)
    return image


def _resized(image: np.ndarray, short_side: int, interpolation: int) -> np.ndarray:
    height, width = image.shape[:2]
    ratio = short_side / min(height, width)
    size = (round(width * ratio), round(height * ratio))
    return cv2.resize(image, size, interpolation=interpolation)


def centre(image: np.ndarray, short_side: int, crop: int) -> np.ndarray:
    """Resize the short side and cut the middle, as the served preprocessing does."""
    image = _resized(image, short_side, cv2.INTER_LINEAR)
    top, left = (image.shape[0] - crop) // 2, (image.shape[1] - crop) // 2
    return image[top : top + crop, left : left + crop]
