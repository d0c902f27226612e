"""Images for comparing preprocessing, made of whole numbers, so that every machine has the same."""

from __future__ import annotations

from functools import cache

import numpy as np

# height, width
SIZES = {
    "odd": (301, 457),
    "upright": (457, 301),
    "tall": (911, 103),
    "wide": (97, 1203),
    "small": (33, 47),
    "pixel": (1, 1),
    "thin": (2, 300),
    "crop and one": (225, 224),
    "12 megapixels": (3000, 4000),
}


@cache
def image(name: str) -> np.ndarray:
    """Uint8 RGB: stripes of several widths, with noise on them."""
    height, width = SIZES[name]
    y, x = np.mgrid[0:height, 0:width].astype(np.uint64)
    channels = []
    for channel, (a, b) in enumerate(((1, 2), (3, 1), (2, 5))):
        wave = (x * a + y * b) % 512
        wave = np.minimum(wave, 511 - wave)
        noise = ((x * 2654435761 + y * 2246822519 + channel * 3266489917) % 2**32 >> 13) % 64
        channels.append(np.clip(wave.astype(np.int32) + noise.astype(np.int32) - 32, 0, 255))
    return np.stack(channels, axis=-1).astype(np.uint8)
