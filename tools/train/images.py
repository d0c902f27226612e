"""Images in class folders, held decoded in memory, and the augmentations of training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from pipeline.stages.decode import decode_image
from protocol.errors import ServingError

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff"})


class DataError(Exception):
    """The data folder cannot be trained on; the text says what is missing."""


@dataclass(frozen=True)
class Normalization:
    """Mean and deviation of each colour, red first, of images in 0..1."""

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """Return uint8 or float32 [H, W, 3] images of 0..255 as float32 [N, 3, H, W]."""
        batch = np.stack(images).astype(np.float32) / 255.0
        normal = (batch - np.asarray(self.mean, np.float32)) / np.asarray(self.std, np.float32)
        return np.ascontiguousarray(normal.transpose(0, 3, 1, 2))


IMAGENET = Normalization()


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
    as the service resizes them, so that their answers are the service's.

    Raises:
        DataError: one cannot be read.
    """
    with tqdm(listed, f"reading {name}") as bar:  # an error stands on a line of its own
        images = [_read(path, short_side, as_served=as_served) for path, _ in bar]
    return ImageSet(images, np.array([i for _, i in listed]), classes, [p for p, _ in listed])


def class_names(folder: Path) -> tuple[str, ...]:
    """Return the names of the class folders in `folder`, in the order of the network's answers.

    Raises:
        DataError: there is no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; it must hold one folder a class")
    return tuple(sorted(f.name for f in folder.iterdir() if f.is_dir() and not _left_over(f)))


def _left_over(folder: Path) -> bool:
    # What notebooks (.ipynb_checkpoints) and archives made on a Mac (__MACOSX) leave behind.
    return folder.name.startswith(".") or folder.name == "__MACOSX"


def _listed(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def _read(path: Path, short_side: int, *, as_served: bool) -> np.ndarray:
    # With the service's decoder: what it refuses (half a JPEG, say) is nothing to learn from.
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


# Whole numbers, so that a quarter turn moves pixels and makes no new ones.
_QUARTER_TURNS = [np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns) for turns in range(4)]


@dataclass(frozen=True)
class Augmentation:
    """How far a training image may be changed; every field is the largest change.

    A view shows at least `min_area` of an image, or what its shape allows: of one that is not
    square, a view that is stretched by no more than `aspect` cannot show all.
    """

    size: int
    min_area: float = 0.3
    aspect: float = 4 / 3
    rotation_deg: float = 20.0
    horizontal_flip: bool = True
    vertical_flip: bool = True
    quarter_turns: bool = False
    colour: float = 0.3
    erase: float = 0.25
    fill: tuple[float, ...] = IMAGENET.mean

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Return one random view, float32 [size, size, 3] of 0..255."""
        view = self._geometry(image, rng).astype(np.float32)
        view = self._colours(view, rng)
        if rng.random() < self.erase:
            self._erase(view, rng)
        return view

    def _geometry(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Crop, scale, rotate and flip in one warp, so that the image is sampled only once."""
        height, width = image.shape[:2]
        area = height * width * rng.uniform(self.min_area, 1.0)
        aspect = np.exp(rng.uniform(-np.log(self.aspect), np.log(self.aspect)))
        crop_w = min(np.sqrt(area * aspect), width)
        crop_h = min(np.sqrt(area / aspect), height)
        # The image's edge may have cut off one side: the other follows, else it is stretched.
        crop_w = min(crop_w, crop_h * self.aspect)
        crop_h = min(crop_h, crop_w * self.aspect)
        x = rng.uniform(crop_w / 2, width - crop_w / 2)
        y = rng.uniform(crop_h / 2, height - crop_h / 2)
        angle = np.deg2rad(rng.uniform(-self.rotation_deg, self.rotation_deg))
        flip_x = -1 if rng.random() < 0.5 and self.horizontal_flip else 1
        flip_y = -1 if self.vertical_flip and rng.random() < 0.5 else 1
        turns = int(rng.integers(4)) if self.quarter_turns else 0
        scale = np.diag([flip_x * crop_w / self.size, flip_y * crop_h / self.size])
        cos, sin = np.cos(angle), np.sin(angle)
        linear = np.array([[cos, -sin], [sin, cos]]) @ scale @ _QUARTER_TURNS[turns]
        # The middle of the crop in pixel numbers, which count from the middle of the first pixel.
        offset = np.array([x, y]) - 0.5 - linear @ np.full(2, (self.size - 1) / 2)
        return cv2.warpAffine(
            image,
            np.column_stack([linear, offset]),
            (self.size, self.size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    def _colours(self, view: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        brightness, contrast, saturation = 1 + self.colour * rng.uniform(-1, 1, 3)
        tint = (1 + self.colour / 4 * rng.uniform(-1, 1, 3)).astype(np.float32)
        grey = view @ np.array([0.299, 0.587, 0.114], np.float32)
        mean = float(grey.mean())
        gain = np.float32(brightness * contrast)
        view = (view * np.float32(saturation) + grey[..., None] * np.float32(1 - saturation)) * gain
        view = (view + np.float32(mean * brightness * (1 - contrast))) * tint
        return np.clip(view, 0, 255, out=view)

    def _erase(self, view: np.ndarray, rng: np.random.Generator) -> None:
        side = self.size * np.sqrt(rng.uniform(0.02, 0.2))
        ratio = np.exp(rng.uniform(-0.7, 0.7))
        height, width = int(side * ratio), int(side / ratio)
        top, left = rng.integers(0, self.size, 2)
        view[top : top + height, left : left + width] = np.asarray(self.fill, np.float32) * 255


def mixed(
    images: np.ndarray, targets: np.ndarray, rng: np.random.Generator, mixup: float, cutmix: float
) -> tuple[np.ndarray, np.ndarray]:
    """Blend (mixup) or paste (cutmix) images of one batch with each other, labels likewise.

    `images` is [N, 3, H, W], `targets` [N, classes]; the two numbers are the probabilities.
    """
    draw = rng.random()
    if draw >= mixup + cutmix:
        return images, targets
    other = rng.permutation(len(images))
    if draw < mixup:
        share = float(rng.beta(0.3, 0.3))
        images = share * images + (1 - share) * images[other]
    else:
        size = images.shape[-1]
        side = int(size * np.sqrt(1 - rng.beta(1.0, 1.0)))
        top, left = rng.integers(0, size - side + 1, 2)
        images = images.copy()
        images[..., top : top + side, left : left + side] = images[
            other, :, top : top + side, left : left + side
        ]
        share = 1 - side * side / (size * size)
    targets = share * targets + (1 - share) * targets[other]
    return images.astype(np.float32), targets.astype(np.float32)


def balanced_order(targets: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Return one epoch's image numbers, rare classes drawn more often.

    `strength` 0 draws every image once, 1 every class equally often.
    """
    if strength == 0:
        return rng.permutation(len(targets))
    weights = np.bincount(targets).astype(np.float64)[targets] ** -strength
    expected = weights / weights.sum() * len(targets)
    # Whole parts for certain, the rest by chance: less noise than drawing with replacement.
    repeats = np.floor(expected + rng.random(len(targets))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(targets)), repeats))
