"""Pillow's resizing, the same under every Pillow; and what is too long and thin to be enlarged."""

from __future__ import annotations

from typing import Any

import numpy as np
import PIL
import pytest
from PIL import Image

from pipeline.stages.operators.resampling import resampler
from pipeline.stages.preprocess import build_preprocess
from protocol.errors import TooLarge

FILTERS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
# height, width -> width, height: wide, tall, as tall after it, one side kept, enlarged, one pixel
SIZES = (
    ((97, 203), (40, 30)),
    ((203, 97), (40, 30)),
    ((203, 97), (40, 84)),
    ((203, 97), (97, 50)),
    ((30, 20), (64, 96)),
    ((200, 3), (64, 20)),
    ((1, 1), (5, 7)),
)


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


@pytest.mark.skipif(
    int(PIL.__version__.split(".")[0]) < 13, reason="Pillow 13 changed which side comes first"
)
@pytest.mark.parametrize("name", FILTERS)
def test_pil_is_pillow_13(name: str) -> None:
    flag = getattr(Image.Resampling, name.upper())
    for shape, size in SIZES:
        image = noise(*shape)
        for box in (None, (0, 0, max(1, shape[1] // 2), max(1, shape[0] // 3))):
            wanted = np.asarray(Image.fromarray(image).resize(size, flag, box=box))
            assert np.array_equal(resampler(name, "pil")(image, size, box), wanted), (shape, size)


def test_pil_makes_a_tall_image_lower_first() -> None:
    image = noise(203, 97)
    lower = Image.fromarray(image).resize((97, 30), Image.Resampling.BICUBIC)
    wanted = np.asarray(lower.resize((40, 30), Image.Resampling.BICUBIC))
    assert np.array_equal(resampler("bicubic", "pil")(image, (40, 30)), wanted)


def test_pil_takes_any_number_of_channels() -> None:
    image = noise(40, 60)
    three = resampler("bilinear", "pil")(image, (20, 10))
    four = np.dstack([image, image[:, :, :1]])
    assert np.array_equal(resampler("bilinear", "pil")(four, (20, 10))[:, :, :3], three)
    one = resampler("bilinear", "pil")(image[:, :, :1], (20, 10))
    assert np.array_equal(one, three[:, :, :1])


LONG = [
    {"resize_short": 256},
    {"resize_short": 256, "rounding": "floor", "backend": "pil"},
    {"resize_short": 256, "backend": "pil", "interpolation": "lanczos"},
    {"size": 224, "fit": "cover"},
]


@pytest.mark.parametrize("options", LONG)
@pytest.mark.parametrize("shape", [(1, 1500, 3), (1500, 1, 3), (2, 900, 3)])
def test_a_long_and_thin_image_is_not_enlarged(
    options: dict[str, Any], shape: tuple[int, int, int]
) -> None:
    """1 x 1500 pixels, a file of 200 bytes, became 256 x 384,000: 1.7 s and 0.9 GB."""
    prepare = build_preprocess([{"ResizeImage": options}])
    with pytest.raises(TooLarge, match="pixels; crop it"):
        prepare(np.zeros(shape, np.uint8))


@pytest.mark.parametrize("options", LONG)
def test_a_long_image_that_is_made_smaller_may_be_of_any_ratio(options: dict[str, Any]) -> None:
    prepare = build_preprocess([{"ResizeImage": options}])
    short = min(prepare(np.zeros((300, 30_000, 3), np.uint8)).shape[:2])
    assert short == options.get("resize_short", 224)
    assert min(prepare(np.zeros((2, 300, 3), np.uint8)).shape[:2]) == short  # 9.8 million pixels
