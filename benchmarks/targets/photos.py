"""Part `photos`: decoding photos of 12 megapixels, in full and with `fast_decode`, in turns."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import cv2

from pipeline.stages.decode import DecodeLimits, decode_image

from .target import Target, ratios

PART = "photos"
_SIZE = (4000, 3000)
_SHORT_SIDE = 256  # what the embedded model and most classifiers resize to
_TIMES = 2.5


def measure(images: list[Path], rounds: int) -> list[Target]:
    """Enlarge each image to 12 megapixels; a round decodes all of them each way."""
    photos = [_photo(path) for path in images]
    fast = DecodeLimits(reduce_to=_SHORT_SIDE)
    full_s, fast_s = [], []
    for _ in range(rounds):
        full_s.append(_seconds(lambda: [decode_image(photo) for photo in photos]))
        fast_s.append(_seconds(lambda: [decode_image(photo, fast) for photo in photos]))
    what = "12-megapixel JPEGs: decoding in full over fast_decode"
    return [Target(PART, what, _TIMES, ratios(full_s, fast_s))]


def _photo(path: Path) -> bytes:
    """Return a JPEG as a phone writes it; a real image, so that its detail costs what it does."""
    pixels = decode_image(path.read_bytes())
    large = cv2.resize(pixels, _SIZE, interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", large, [cv2.IMWRITE_JPEG_QUALITY, 92])[1].tobytes()


def _seconds(work: Callable[[], object]) -> float:
    began = time.process_time()  # other processes of a busy machine do not count
    work()
    return time.process_time() - began
