"""Images whose right scores are known, and different for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from benchmarks.bare import ROOT, BareLimit
from benchmarks.images import image_files

BUNDLE = ROOT / "serving_model" / "waste"
# Of a score: batches of another size, threads and kernels round differently.
TOLERANCE = 1e-4


@dataclass(frozen=True)
class KnownImages:
    """Encoded images, and the scores that each of them must get: [images][classes], 0..1."""

    encoded: list[bytes]
    scores: list[list[float]]


def draw_images(folder: Path, seed: int, count: int = 48) -> KnownImages:
    """Draw `count` images into `folder`, add the samples, and keep those with distinct scores."""
    rng = np.random.default_rng(seed)
    files = image_files(ROOT / "examples" / "images", 16)
    for number in range(count):
        image = np.full((240, 320, 3), rng.integers(60, 255, 3), np.uint8)
        for _ in range(int(rng.integers(2, 9))):
            centre = tuple(int(v) for v in rng.integers(0, 240, 2))
            colour = tuple(int(v) for v in rng.integers(0, 255, 3))
            cv2.circle(image, centre, int(rng.integers(10, 90)), colour, -1)
        path = folder / f"drawn{number}{'.png' if number % 4 == 0 else '.jpg'}"
        cv2.imwrite(str(path), image)
        files.append(path)
    bare = BareLimit(BUNDLE, files, 1)
    all_scores = bare.scores
    bare.close()
    kept: list[int] = []
    for number, scores in enumerate(all_scores):
        # The best three alone must differ too: the second service returns no more than these.
        if all(_distance(scores, all_scores[other]) > 20 * TOLERANCE for other in kept):
            kept.append(number)
    return KnownImages([files[n].read_bytes() for n in kept], [all_scores[n] for n in kept])


def _distance(one: list[float], other: list[float]) -> float:
    best = zip(sorted(one, reverse=True)[:3], sorted(other, reverse=True)[:3], strict=True)
    return max(abs(a - b) for a, b in best)
