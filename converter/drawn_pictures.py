"""Pictures to run a model on where nobody gave any: drawn, the same on every machine."""

from __future__ import annotations

import cv2
import numpy as np

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


def drawn_pictures() -> dict[str, bytes]:
    """Return PNG files by name: blobs of colour under some grain, as different as photographs."""
    pictures = {}
    random = np.random.default_rng(20)
    for number, (height, width) in enumerate(_SIZES, 1):
        coarse = random.uniform(0, 255, (3 + number, 3 + number, 3)).astype(np.float32)
        smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        grain = random.normal(0, 4 * number, (height, width, 1))
        image = np.clip(smooth + grain, 0, 255).astype(np.uint8)
        pictures[f"drawn {number} ({width}x{height})"] = cv2.imencode(".png", image)[1].tobytes()
    return pictures
