"""Mean and standard deviation of every channel over all pixels of a dataset.

Pixels are whole numbers of 0..255, so their sums and sums of squares are whole numbers too: they
are added without any rounding, and only the last division is a float's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import cv2
import numpy as np

from pipeline.stages.decode import decode_image
from protocol.errors import ServingError
from tools.text import printable

from .errors import DatasetError
from .images import Image
from .inspection import read_bytes
from .workers import each

# As many pixels are widened to more bytes at once.
_BLOCK = 1 << 20


class Sums(NamedTuple):
    """Of one image: its pixels, and per channel (RGB) their sum and the sum of their squares."""

    pixels: int = 0
    values: tuple[int, ...] = ()
    squares: tuple[int, ...] = ()
    error: str = ""


@dataclass(frozen=True)
class Statistics:
    """`mean` and `std` are per channel, RGB, of pixels in 0..1."""

    source: str
    images: int
    pixels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def normalize_image(self) -> dict[str, Any]:
        """Return the options of the operator NormalizeImage."""
        return {
            "scale": "1.0/255.0",
            "mean": [round(value, 6) for value in self.mean],
            "std": [round(value, 6) for value in self.std],
            "order": "",
        }


def measure(source: str, images: Sequence[Image], size: int | None, *, jobs: int) -> Statistics:
    """Measure the images as they are, or first resized to `size` x `size`.

    Raises:
        DatasetError: an image cannot be read, or a channel is the same everywhere.
    """
    pixels, values, squares = 0, [0, 0, 0], [0, 0, 0]
    paths = [image.path for image in images]
    results = each(partial(sums_of, size=size), paths, jobs=jobs, title="measuring")
    for path, sums in zip(paths, results, strict=True):
        if sums.error:
            raise DatasetError(f"{printable(path)}: {sums.error} (`check` lists every such image)")
        pixels += sums.pixels
        values = [a + b for a, b in zip(values, sums.values, strict=True)]
        squares = [a + b for a, b in zip(squares, sums.squares, strict=True)]
    mean = tuple(value / (255 * pixels) for value in values)
    std = tuple(
        math.sqrt(pixels * square - value * value) / (255 * pixels)
        for value, square in zip(values, squares, strict=True)
    )
    if min(std) == 0:
        raise DatasetError(
            f"{source}: a channel has the same value in every pixel, so nothing can be divided by "
            "its deviation; are these the right images?"
        )
    return Statistics(source, len(paths), pixels, mean, std)


def sums_of(path: str, size: int | None = None) -> Sums:
    """Sum up one image; never raises, since it runs in another process."""
    try:
        image = decode_image(read_bytes(path))
    except (DatasetError, ServingError) as error:
        return Sums(error=str(error))
    if size:
        # As ResizeImage of transform_ops does it: the model gets these pixels.
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    flat = image.reshape(-1, 3)
    values = np.zeros(3, np.int64)
    squares = np.zeros(3, np.int64)
    for start in range(0, len(flat), _BLOCK):
        block = flat[start : start + _BLOCK].astype(np.int64)
        values += block.sum(axis=0)
        squares += np.einsum("ij,ij->j", block, block)
    return Sums(len(flat), tuple(values.tolist()), tuple(squares.tolist()))
