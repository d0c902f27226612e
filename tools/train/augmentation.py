"""Changes of images in training: views of one, mixtures of a batch, the order of an epoch."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .normalization import IMAGENET

# Whole numbers: a quarter turn moves pixels and interpolates none.
_QUARTER_TURNS = [np.linalg.matrix_power(np.array([[0, -1], [1, 0]]), turns) for turns in range(4)]


@dataclass(frozen=True)
class Augmentation:
    """How far a training image may be changed; every field is the largest change.

    A view shows at least `min_area` of an image, or as much as its shape allows: if an image is not
    square, a view stretched by at most `aspect` cannot show all of it.
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
        # If the edge of the image has cut off one side, the other side follows to keep the ratio.
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
        # The centre of the crop in pixels, counted from the centre of the first pixel.
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
    """Return the image numbers of one epoch, with rare classes drawn more often.

    `strength` 0 draws every image once, 1 every class equally often.
    """
    if strength == 0:
        return rng.permutation(len(targets))
    weights = np.bincount(targets).astype(np.float64)[targets] ** -strength
    expected = weights / weights.sum() * len(targets)
    # The whole part is certain, the rest random: less noise than drawing with replacement.
    repeats = np.floor(expected + rng.random(len(targets))).astype(int)
    return rng.permutation(np.repeat(np.arange(len(targets)), repeats))
