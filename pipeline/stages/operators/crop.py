"""CropImage: the centre of an image."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocol.errors import InvalidRequest

from .step import Step, pair


def crop_image(size: Any) -> Step:  # noqa: ANN401 - YAML
    """Crop the centre, as PaddleClas does; a smaller image is an InvalidRequest."""
    width, height = pair(size, "CropImage: size")

    def step(image: np.ndarray) -> np.ndarray:
        have_h, have_w = image.shape[:2]
        if have_h < height or have_w < width:
            raise InvalidRequest(
                "the image has {} x {} pixels and the model needs {} x {}; "
                "send a larger one".format(have_w, have_h, width, height)
            )
        left, top = (have_w - width) // 2, (have_h - height) // 2
        return image[top : top + height, left : left + width]

    return step
