"""ClsResizeImg: lines of text for PaddleOCR's classifier of their direction."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import PreprocessError
from .fitting import resize_to_height
from .normalize import normalize_image
from .padding import on_ground
from .step import Step


def cls_resize_img(image_shape: Any) -> Step:  # noqa: ANN401 - YAML
    """Resize to the height, normalise to -1..1 and pad with zeros at the right; as PaddleOCR does.

    The same as ResizeToHeight, NormalizeImage (divisor 255, mean and std 0.5), PadImage and
    ToCHWImage.

    Args:
        image_shape: [channels, height, width]; channels are 3, or 1 after Grayscale.
    """
    numbers = list(image_shape) if isinstance(image_shape, (list, tuple)) else []
    good = len(numbers) == 3 and all(
        isinstance(n, int) and not isinstance(n, bool) and n > 0 for n in numbers
    )
    if not good or numbers[0] not in (1, 3):
        raise PreprocessError(
            "ClsResizeImg: image_shape is [channels, height, width] with 1 or 3 channels, for "
            "example [3, 48, 192], not {!r}".format(image_shape)
        )
    channels, height, width = numbers
    resize = resize_to_height(height, width)
    normalize = normalize_image(divisor=255.0, mean=0.5, std=0.5, order="")

    def step(image: np.ndarray) -> np.ndarray:
        if image.shape[2] != channels:
            raise PreprocessError(
                "ClsResizeImg: image_shape has {} channels and the image {}; {}".format(
                    channels,
                    image.shape[2],
                    "put Grayscale before it" if channels == 1 else "give [3, height, width]",
                )
            )
        planes = normalize.planes(resize(image))
        padded = on_ground(planes.transpose(1, 2, 0), (width, height), (0, 0), [0.0])
        return np.asarray(padded.transpose(2, 0, 1))

    return step
