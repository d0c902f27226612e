"""Grayscale: one channel of three, with the formula of Pillow or of OpenCV."""

from __future__ import annotations

import cv2
import numpy as np

from ..errors import PreprocessError

# Pillow's weights of red, green and blue in 65536ths; a half is added before the fraction is cut.
_PILLOW = np.array([[19595, 38470, 7471]], np.float32)
_HALF, _SCALE = np.float32(1 << 15), np.float32(1 / (1 << 16))
_STRIP = 64


class Grayscale:
    """Callable: uint8 [H, W, 3] RGB -> uint8 [H, W, num_output_channels], all channels equal.

    `backend` pil is the formula of Pillow's convert("L"), which torchvision, paddle.vision and
    Keras' load_img use; cv2 is that of OpenCV's COLOR_RGB2GRAY. They differ by a grey level at some
    colours. Grey images stay as they are with both.
    """

    def __init__(self, num_output_channels: int = 1, backend: str = "pil") -> None:
        if isinstance(num_output_channels, bool) or num_output_channels not in (1, 3):
            raise PreprocessError(
                "Grayscale: num_output_channels is 1 or 3, not {!r}".format(num_output_channels)
            )
        library = str(backend).lower()
        if library not in ("pil", "cv2"):
            raise PreprocessError("Grayscale: backend is pil or cv2, not {!r}".format(backend))
        self.channels = num_output_channels
        self._opencv = library == "cv2"

    def __call__(self, image: np.ndarray) -> np.ndarray:
        """Return the grey image of `image`."""
        grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) if self._opencv else _pillow_grey(image)
        return grey[:, :, np.newaxis] if self.channels == 1 else cv2.merge([grey] * 3)


def _pillow_grey(image: np.ndarray) -> np.ndarray:
    """Pillow's integers, in floats that hold them: no sum reaches 2 to the power of 24."""
    grey = np.empty(image.shape[:2], np.uint8)
    for top in range(0, len(image), _STRIP):  # the floats of all rows would be four times an image
        rows = image[top : top + _STRIP].astype(np.float32)
        total = cv2.transform(rows, _PILLOW)
        total += _HALF
        total *= _SCALE
        grey[top : top + _STRIP] = total.reshape(rows.shape[:2])
    return grey
