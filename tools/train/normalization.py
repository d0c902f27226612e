"""Mean and deviation that images are normalised with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


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
