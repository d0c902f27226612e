"""What PyTorch's libraries and Keras see of a file, by Pillow, and what the service sees."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from pipeline.stages.decode import decode_image
from tests.conformance.framework_images import image

SAVED: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        f"JPEG, subsampling {chroma}, quality {quality}": (
            "RGB",
            {"format": "JPEG", "subsampling": chroma, "quality": quality},
        )
        for chroma in (0, 1, 2)
        for quality in (10, 75, 95)
    },
    "progressive JPEG": ("RGB", {"format": "JPEG", "progressive": True}),
    "grey JPEG": ("L", {"format": "JPEG"}),
    "PNG": ("RGB", {"format": "PNG"}),
    "PNG with alpha": ("RGBA", {"format": "PNG"}),
    "PNG with a palette": ("P", {"format": "PNG"}),
    "PNG of one bit": ("1", {"format": "PNG"}),
    "WebP": ("RGB", {"format": "WEBP"}),
    "BMP": ("RGB", {"format": "BMP"}),
    "TIFF": ("RGB", {"format": "TIFF"}),
}


def both(pixels: Any, **options: Any) -> tuple[np.ndarray, np.ndarray]:
    """The image as the service sees it, and as Pillow does."""
    file = io.BytesIO()
    pixels.save(file, **options)
    return decode_image(file.getvalue()), np.asarray(Image.open(file).convert("RGB"))


@pytest.mark.parametrize("kind", SAVED)
def test_pillow_decodes_to_the_same_pixels(kind: str) -> None:
    mode, options = SAVED[kind]
    for name in ("odd", "small", "crop and one"):
        ours, pillows = both(Image.fromarray(image(name)).convert(mode), **options)
        assert np.array_equal(ours, pillows), name


def test_orientation_is_applied_here_and_not_by_pillow() -> None:
    pixels = Image.fromarray(image("odd"))
    exif = pixels.getexif()
    exif[0x0112] = 6
    ours, pillows = both(pixels, format="PNG", exif=exif)
    assert np.array_equal(ours, np.rot90(pillows, -1))


def test_cmyk_is_rounded_by_a_grey_level() -> None:
    ours, pillows = both(Image.fromarray(image("odd")).convert("CMYK"), format="JPEG")
    assert np.abs(ours.astype(int) - pillows).max() == 1


def test_sixteen_bits_are_cut_here_and_white_in_pillow() -> None:
    ours, pillows = both(
        Image.fromarray(image("odd")[:, :, 0].astype(np.uint16) * 257), format="PNG"
    )
    assert np.array_equal(ours, image("odd")[:, :, :1].repeat(3, axis=2))
    assert np.all(pillows[ours > 0] == 255)
